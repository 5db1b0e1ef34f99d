"""The format of an answer: text, or JSON of a schema."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from nudging.serving.requests import Body

JSON_FORMAT: dict[str, Any] = {
    "type": "object",
    "properties": {"type": {"enum": ["json_object", "json_schema"]}},
    "required": ["type"],
}
"""The published schema of a chat request's formats that ask for JSON."""

JSON_TEXT = {"type": "object", "properties": {"format": JSON_FORMAT}, "required": ["format"]}
"""The same of a Responses request."""


class JsonSchema(Body):
    """A named JSON schema."""

    name: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class TextFormat(Body):
    """Any text."""

    type: Literal["text"]


class JsonObjectFormat(Body):
    """A JSON object, of a schema if one is given."""

    type: Literal["json_object"]
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class JsonSchemaFormat(Body):
    """JSON of a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat: TypeAlias = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat,
    Field(discriminator="type", description="The format of the answer"),
]
"""The format of a chat request."""


class FlatJsonSchemaFormat(Body):
    """JSON of a schema, in the shape of Responses requests."""

    type: Literal["json_schema"]
    name: str
    description: str | None = None
    strict: bool | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class TextConfig(Body):
    """The format of a Responses request."""

    format: Annotated[
        TextFormat | JsonObjectFormat | FlatJsonSchemaFormat, Field(discriminator="type")
    ] | None = None  # fmt: skip


def schema_of(
    given: TextFormat | JsonObjectFormat | JsonSchemaFormat | FlatJsonSchemaFormat | None,
) -> dict[str, Any] | None:
    """Return the schema that a format asks for, or None if it asks for text."""
    match given:
        case JsonObjectFormat(schema_=schema) | FlatJsonSchemaFormat(schema_=schema):
            return schema or {"type": "object"}
        case JsonSchemaFormat(json_schema=JsonSchema(schema_=schema)):
            return schema or {"type": "object"}
    return None
