"""Tools and tool choices in requests. The engine checks what a schema of the request cannot say."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, Tag, WithJsonSchema

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

ToolChoice: TypeAlias = Annotated[
    str | dict[str, Any] | None,
    Field(
        description="If the models choose to call a tool, never, or always (which needs tools). OpenAI's objects that "
        "name one of the tools, or list allowed ones, are understood too: no schema can say that they must be among "
        "the tools"
    ),
    WithJsonSchema({"enum": [None, "none", "auto", "required"]}),
]
