"""Tool calls as values: complete ones, malformed ones, and an answer split into content and calls."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call in an answer.

    Args:
        name: The tool's name.
        arguments: The parsed JSON arguments. They are not validated against the tool's schema here.
    """

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class InvalidToolCall:
    """A malformed tool call.

    Args:
        name: The tool's name, if it can be read.
        text: The call as the model wrote it.
        error: The reason why it cannot be parsed.
    """

    name: str | None
    text: str
    error: str


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """An answer split into its content and its tool calls.

    Args:
        content: The text outside the calls.
        tool_calls: The well-formed calls, in order.
        invalid_tool_calls: The malformed calls, in order.
    """

    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    invalid_tool_calls: tuple[InvalidToolCall, ...] = ()


def new_call_id() -> str:
    """Return a unique id for a tool call, so that a tool message can refer to it."""
    return f"call_{uuid4().hex[:24]}"
