"""Fields of a request that need each other: in the published schema, and in its check."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

LEAST_ROOM = 8
"""Number of tokens without which JSON or a call is refused. Most need more, which the engine knows."""


def _relation(condition: dict[str, Any], consequence: dict[str, Any]) -> dict[str, Any]:
    return {"if": {"properties": condition, "required": list(condition)}, "then": consequence}


def relations(format_field: str, format_schema: dict[str, Any], lengths: Sequence[str]) -> dict[str, Any]:
    """Return what the schema of a request says about fields that need each other.

    Args:
        format_field: The field with the format of the answer.
        format_schema: The schema of its values that ask for JSON.
        lengths: The fields that limit the answer's length.
    """
    required = {"tool_choice": {"const": "required"}}
    function = {"type": "object", "properties": {"type": {"const": "function"}}, "required": ["type"]}
    tools = {"properties": {"tools": {"type": "array", "contains": function}}, "required": ["tools"]}
    room = {"anyOf": [{"type": "null"}, {"type": "integer", "minimum": LEAST_ROOM}]}
    long_enough = {"properties": dict.fromkeys(lengths, room)}
    return {
        "allOf": [
            _relation(required, tools),
            _relation(required, long_enough),
            _relation({format_field: format_schema}, long_enough),
        ]
    }


def check_room(request: BaseModel, lengths: Sequence[str], *, is_constrained: bool) -> None:
    """Raise if a request for JSON or a call has no room for it, as `relations` says.

    Args:
        request: The request.
        lengths: The fields that limit the answer's length.
        is_constrained: True if it asks for JSON or a call.

    Raises:
        ValueError: There is no room.
    """
    for name in lengths if is_constrained else ():
        if (length := getattr(request, name)) is not None and length < LEAST_ROOM:
            raise ValueError(f"{name}={length}: JSON or a tool call needs at least {LEAST_ROOM} tokens")
