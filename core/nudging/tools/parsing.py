"""Parse the tool calls in an answer, in the formats that current models write.

Hermes and Qwen (`<tool_call>{…}</tool_call>`), Llama (`{"name": …, "parameters": …}`, sometimes after
`<|python_tag|>`), Mistral (`[TOOL_CALLS] [{…}]`, `[TOOL_CALLS]name{…}`), and JSON in a code fence. A malformed call is
returned as an `InvalidToolCall`. All other text is content.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from nudging.tools.calls import InvalidToolCall, ParsedAnswer, ToolCall

OPENING_TAG, CLOSING_TAG = "<tool_call>", "</tool_call>"

CALL_MARKERS = OPENING_TAG, "[TOOL_CALLS]", "<|python_tag|>", "```json", "```\n"
"""Texts that start a call anywhere in an answer. A bracket or a tool's name starts one only at the answer's start."""

_HERMES = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.DOTALL)
_MISTRAL = re.compile(r"\[TOOL_CALLS\]\s*(.*)", re.DOTALL)
_PYTHON_TAG = re.compile(r"<\|python_tag\|>\s*(.*)", re.DOTALL)
_FENCED = re.compile(r"```(?:json)?\s*\n(\s*[\[{].*?)\s*(?:```|\Z)", re.DOTALL)
_CALL_START = re.compile(r'\s*\[?\s*\{\s*"(?:name|function)"\s*:\s*"([^"]*)')


def parse_calls(text: str, names: Sequence[str]) -> ParsedAnswer:
    """Split an answer into its content and its tool calls.

    Args:
        text: The answer.
        names: The names of the tools.
    """
    for pattern in (_HERMES, _MISTRAL, _PYTHON_TAG, _FENCED):
        if found := list(pattern.finditer(text)):
            calls = [call for match in found for call in _calls(match[1], names, marked=pattern is not _FENCED)]
            if calls:
                content = pattern.sub("", text).rstrip()
                return _split(content if content.strip() else "", calls)
    calls = _calls(text.strip(), names, marked=False)
    return _split("", calls) if calls else ParsedAnswer(text)


def parse_calls_or_json(text: str, names: Sequence[str]) -> ParsedAnswer:
    """Split an answer that is either calls within `<tool_call>` tags or JSON, which may look like a call."""
    return parse_calls(text, names) if text.startswith(OPENING_TAG) else ParsedAnswer(text)


def _split(content: str, calls: Sequence[ToolCall | InvalidToolCall]) -> ParsedAnswer:
    valid = tuple(call for call in calls if isinstance(call, ToolCall))
    return ParsedAnswer(content, valid, tuple(call for call in calls if isinstance(call, InvalidToolCall)))


def _calls(text: str, names: Sequence[str], *, marked: bool) -> list[ToolCall | InvalidToolCall]:
    """Return the calls in a text that consists of calls only, or an empty list if it does not.

    Args:
        text: The text, without the markers of its format.
        names: The names of the tools.
        marked: True if markers show that the text is a call, so that anything else in it is malformed.
    """
    if named := next((name for name in names if re.match(rf"{re.escape(name)}\s*(\[ARGS\])?\s*\{{", text)), None):
        return [_call(named, text[text.index("{") :])]
    values, rest = _json_values(text)
    calls = [item for value in values for item in (value if isinstance(value, list) else [value])]
    if (
        calls
        and all(_is_call(call, None if marked else names) for call in calls)
        and (marked or not rest or _CALL_START.match(rest))
    ):
        whole = [_whole_call(call) for call in calls]
        return [*whole, _malformed(rest)] if rest else whole
    call_start = _CALL_START.match(text)
    if marked or (call_start and call_start[1] in names and not values):
        return [_malformed(text)]
    return []


def _json_values(text: str) -> tuple[list[Any], str]:
    """Return the JSON values at the start of a text (separated by space, commas or semicolons), and the rest."""
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
    """Return True if a JSON value has the shape of a call of one of these tools (of any tool if `names` is None)."""
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
