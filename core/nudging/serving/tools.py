"""Tools and tool choices in requests. The engine checks what a schema of the request cannot say."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, WithJsonSchema

from nudging.serving.requests import Body

Parameters: TypeAlias = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "properties": {"type": {"const": "object"}}}),
    Field(description="JSON schema of the arguments, an object"),
]


class Function(Body):
    """A function that may be called. One without arguments needs no parameters."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
    description: str | None = None
    parameters: Parameters | None = None
    strict: bool | None = None


class ChatTool(Body):
    """A tool in the shape of chat requests."""

    type: Literal["function"]
    function: Function


class FlatTool(Function):
    """A tool in the shape of Responses requests."""

    type: Literal["function"]


class HostedTool(Body):
    """A tool that OpenAI runs, such as a web search. It is left out."""

    type: Annotated[str, Field(min_length=1, json_schema_extra={"not": {"const": "function"}})]


def _kind(tool: Any) -> str | None:
    kind = tool.get("type") if isinstance(tool, dict) else None
    return "a function" if kind == "function" else "a hosted tool" if isinstance(kind, str) else None


ResponsesTool: TypeAlias = Annotated[
    Annotated[FlatTool, Tag("a function")] | Annotated[HostedTool, Tag("a hosted tool")],
    Discriminator(_kind, custom_error_type="unknown_tool", custom_error_message="must be an object with a type"),
]
"""A tool of a Responses request."""

JSON_TYPES: dict[str, Any] = {
    "type": "object",
    "properties": {"type": {"enum": ["json_object", "json_schema"]}},
    "required": ["type"],
}
"""The schema of formats that ask for JSON."""

LEAST_ROOM = 8
"""Number of tokens without which JSON or a call is refused. Most need more, which the engine knows."""

ToolChoice: TypeAlias = Annotated[
    str | dict[str, Any] | None,
    Field(
        description="If the models choose to call a tool, never, or always (which needs tools). OpenAI's objects that "
        "name one of the tools, or list allowed ones, are understood too: no schema can say that they must be among "
        "the tools"
    ),
    WithJsonSchema({"enum": [None, "none", "auto", "required"]}),
]


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
