"""Tool calls in what a model wrote, in the formats that models of today emit.

Hermes and Qwen (`<tool_call>{…}</tool_call>`), Llama (`{"name": …, "parameters": …}`, perhaps after `<|python_tag|>`),
Mistral (`[TOOL_CALLS] [{…}]`, `[TOOL_CALLS]name{…}`), and JSON in a fence. What was meant as a call and is malformed is
kept as an invalid one; everything else is content.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

OPENINGS = "<tool_call>", "[TOOL_CALLS]", "<|python_tag|>", "```json", "```\n"
"""What begins a call in the middle of a text. At its beginning a bracket or the name of a tool does too."""

_HERMES = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.DOTALL)
_MISTRAL = re.compile(r"\[TOOL_CALLS\]\s*(.*)", re.DOTALL)
_PYTHON_TAG = re.compile(r"<\|python_tag\|>\s*(.*)", re.DOTALL)
_FENCED = re.compile(r"```(?:json)?\s*\n(\s*[\[{].*?)\s*(?:```|\Z)", re.DOTALL)
_BEGUN = re.compile(r'\{"name": ("(?:[^"\\]|\\.)*"), "arguments": (.*)', re.DOTALL)
_MEANT_AS_CALL = re.compile(r'\s*\[?\s*\{\s*"(?:name|function)"\s*:\s*"([^"]*)')


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model made. The arguments are JSON; whether the tool takes them, the tool says."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class InvalidToolCall:
    """What was meant as a call and is none.

    Args:
        name: Of the tool, if it can be made out.
        text: As the model wrote it.
        error: What is wrong with it.
    """

    name: str | None
    text: str
    error: str


@dataclass(frozen=True, slots=True)
class BegunCall:
    """A call that is being written.

    Args:
        name: Of the tool.
        arguments: JSON, as far as it has come.
    """

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Begun:
    """What of an unfinished answer may be shown already: its content, and the calls in it."""

    content: str
    tool_calls: tuple[BegunCall, ...] = ()


@dataclass(frozen=True, slots=True)
class CallPart:
    """What a call grew by.

    Args:
        index: Of the call in its answer.
        name: Of the tool, with the call's first part.
        arguments: JSON, a part of it.
    """

    index: int
    name: str | None
    arguments: str


class Shown:
    """What of an unfinished answer was shown, for those who show an answer part by part."""

    def __init__(self) -> None:
        self._content = ""
        self._arguments: list[str] = []  # of each call that has begun

    @property
    def calls(self) -> int:
        """How many calls have begun."""
        return len(self._arguments)

    def content(self, content: str) -> str:
        """What the content grew by. What was shown is not taken back: one that goes on otherwise adds nothing."""
        if not content.startswith(self._content):
            return ""
        added = content[len(self._content) :]
        self._content = content
        return added

    def parts(self, calls: Sequence[BegunCall]) -> Iterator[CallPart]:
        """What the calls grew by."""
        for index, call in enumerate(calls):
            if index == len(self._arguments):
                self._arguments.append(call.arguments)
                yield CallPart(index, call.name, call.arguments)
            elif added := call.arguments[len(self._arguments[index]) :]:
                self._arguments[index] = call.arguments
                yield CallPart(index, None, added)


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer, read: its content, and the calls in it."""

    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    invalid_tool_calls: tuple[InvalidToolCall, ...] = ()


def new_call_id() -> str:
    """An id that no other call has, for those who answer it."""
    return f"call_{uuid4().hex[:24]}"


def read_calls(text: str, names: Sequence[str]) -> Reading:
    """The calls in a text, and the text without them.

    Args:
        text: What a model wrote.
        names: Of the tools there are.
    """
    for pattern in (_HERMES, _MISTRAL, _PYTHON_TAG, _FENCED):
        if found := list(pattern.finditer(text)):
            calls = [call for match in found for call in _calls(match[1], names, meant=pattern is not _FENCED)]
            if calls:
                content = pattern.sub("", text).rstrip()
                return _reading(content if content.strip() else "", calls)
    calls = _calls(text.strip(), names, meant=False)
    return _reading("", calls) if calls else Reading(text)


def certain_content(text: str, names: Sequence[str]) -> str:
    """The beginning of an unfinished text that no call can begin in: what may be shown already."""
    beginning = text.lstrip()
    if not beginning or any(beginning.startswith(name) or name.startswith(beginning) for name in ("{", "[", *names)):
        return ""
    openings = [at for opening in OPENINGS if (at := text.find(opening)) >= 0]
    partial = [len(text) - n for opening in OPENINGS for n in range(1, len(opening)) if text.endswith(opening[:n])]
    return text[: min([*openings, *partial], default=len(text))].rstrip()  # the space before a call goes with it


def begun_calls(text: str) -> Iterator[BegunCall]:
    """The calls in an unfinished text of nothing but calls, which their grammar has written as this expects."""
    while begun := _BEGUN.match(text):
        name, text = json.loads(begun[1]), begun[2]
        try:
            _, end = json.JSONDecoder().raw_decode(text)
        except ValueError:  # not complete yet
            end = len(text)
        yield BegunCall(name, text[:end])
        text = text[end:].removeprefix("}").lstrip()


def _reading(content: str, calls: Sequence[ToolCall | InvalidToolCall]) -> Reading:
    valid = tuple(call for call in calls if isinstance(call, ToolCall))
    return Reading(content, valid, tuple(call for call in calls if isinstance(call, InvalidToolCall)))


def _calls(text: str, names: Sequence[str], *, meant: bool) -> list[ToolCall | InvalidToolCall]:
    """The calls that a text consists of; none if it is something else, and was not `meant` as calls for certain."""
    if named := next((name for name in names if re.match(rf"{re.escape(name)}\s*(\[ARGS\])?\s*\{{", text)), None):
        return [_call(named, text[text.index("{") :])]
    values, rest = _json_values(text)
    calls = [item for value in values for item in (value if isinstance(value, list) else [value])]
    if (
        calls
        and all(_is_call(call, None if meant else names) for call in calls)
        and (meant or not rest or _MEANT_AS_CALL.match(rest))
    ):
        whole = [_whole_call(call) for call in calls]
        return [*whole, _malformed(rest)] if rest else whole
    like_a_call = _MEANT_AS_CALL.match(text)
    if meant or (like_a_call and like_a_call[1] in names and not values):
        return [_malformed(text)]
    return []


def _json_values(text: str) -> tuple[list[Any], str]:
    """The JSON values that a text begins with, separated by space, commas or semicolons, and what follows them."""
    values = []
    while text := text.lstrip(" \n\t,;"):
        try:
            value, end = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError):
            break
        values.append(value)
        text = text[end:]
    return values, text


def _is_call(value: Any, names: Sequence[str] | None) -> bool:
    """Whether a JSON value has the shape of a call, of one of these tools or of any."""
    if not isinstance(value, dict):
        return False
    inner = value["function"] if isinstance(value.get("function"), dict) else value
    named = isinstance(inner.get("name"), str) and (names is None or inner["name"] in names)
    return named and bool({"arguments", "parameters"} & set(inner))


def _whole_call(value: dict[str, Any]) -> ToolCall | InvalidToolCall:
    inner = value["function"] if isinstance(value.get("function"), dict) else value
    return _call(inner["name"], inner.get("arguments", inner.get("parameters")))


def _call(name: str, arguments: Any) -> ToolCall | InvalidToolCall:
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    try:
        parsed = json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError) as error:
        return InvalidToolCall(name, written, f"the arguments are not JSON: {error}")
    if parsed is None:
        parsed = {}
    if not isinstance(parsed, dict):
        return InvalidToolCall(name, written, "the arguments are not a JSON object")
    return ToolCall(name, parsed)


def _malformed(text: str) -> InvalidToolCall:
    name = re.search(r'"name"\s*:\s*"([^"]*)"', text)
    return InvalidToolCall(name[1] if name else None, text, "the call is not well-formed JSON")
