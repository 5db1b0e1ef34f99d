"""Tool calls while they are being written: what a client may see of an unfinished answer, and what is new in it."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nudging.tools.parsing import CALL_MARKERS, CLOSING_TAG, OPENING_TAG

_FORCED_CALL = re.compile(r'\{"name": ("(?:[^"\\]|\\.)*"), "arguments": (.*)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class PartialToolCall:
    """A tool call that is still being written.

    Args:
        name: The tool's name.
        arguments: The JSON text of the arguments so far.
    """

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class PartialAnswer:
    """The part of an unfinished answer that a client may see.

    Args:
        content: The text so far, up to where a tool call may begin.
        tool_calls: The calls so far.
    """

    content: str
    tool_calls: tuple[PartialToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """New text of one tool call.

    Args:
        index: The call's place in the answer, from 0.
        name: The tool's name in the call's first delta, None afterwards.
        arguments: The new part of the arguments' JSON text.
    """

    index: int
    name: str | None
    arguments: str


class DeltaTracker:
    """Tracks what a client has received of an answer, and returns what is new."""

    def __init__(self) -> None:
        self._content = ""
        self._arguments: list[str] = []  # the received JSON text of each call

    @property
    def calls(self) -> int:
        """The number of calls that the client has received at least in part."""
        return len(self._arguments)

    def new_content(self, content: str) -> str:
        """Return the new part of the content, or "" if it no longer starts with what the client has received."""
        if not content.startswith(self._content):
            return ""
        added = content[len(self._content) :]
        self._content = content
        return added

    def new_call_deltas(self, calls: Sequence[PartialToolCall]) -> Iterator[ToolCallDelta]:
        """Yield the new part of each call."""
        for index, call in enumerate(calls):
            if index == len(self._arguments):
                self._arguments.append(call.arguments)
                yield ToolCallDelta(index, call.name, call.arguments)
            elif added := call.arguments[len(self._arguments[index]) :]:
                self._arguments[index] = call.arguments
                yield ToolCallDelta(index, None, added)


def visible_content(text: str, names: Sequence[str]) -> str:
    """Return the start of an unfinished answer that cannot be part of a tool call.

    Args:
        text: The answer so far.
        names: The names of the tools.
    """
    start = text.lstrip()
    if not start or any(start.startswith(name) or name.startswith(start) for name in ("{", "[", *names)):
        return ""
    markers = [at for marker in CALL_MARKERS if (at := text.find(marker)) >= 0]
    partial = [len(text) - n for marker in CALL_MARKERS for n in range(1, len(marker)) if text.endswith(marker[:n])]
    return text[: min([*markers, *partial], default=len(text))].rstrip()  # white space before a call belongs to it


def parse_partial_calls(text: str) -> Iterator[PartialToolCall]:
    """Yield the calls in an unfinished answer that a grammar constrains to calls, within tags or without."""
    while match := _FORCED_CALL.match(text.removeprefix(f"{OPENING_TAG}\n")):
        name, text = json.loads(match[1]), match[2]
        try:
            _, end = json.JSONDecoder().raw_decode(text)
        except ValueError:  # the arguments are incomplete
            end = len(text)
        yield PartialToolCall(name, text[:end])
        text = text[end:].removeprefix("}").lstrip().removeprefix(CLOSING_TAG).lstrip()
