"""The body of `POST /v1/chat/completions`."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field, model_validator

from nudging.prompting.conversation import Message, without_empty_end
from nudging.request import Options
from nudging.serving.chat_completions.messages import ChatMessage
from nudging.serving.requests import Body, Call, CompletionsRequest, JsonSchema, unsupported
from nudging.serving.tools import JSON_TYPES, ChatTool, ToolChoice, check_room, relations
from nudging.settings import MaxTokens

MOST_ALTERNATIVES = 20
"""Maximum number of alternatives per token, as at OpenAI."""


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


LENGTHS = ("max_tokens", "max_completion_tokens")


class ChatRequest(CompletionsRequest):
    """The body of `POST /v1/chat/completions`."""

    model_config = ConfigDict(json_schema_extra=relations("response_format", JSON_TYPES, LENGTHS))

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: MaxTokens | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_ALTERNATIVES)] | None = None
    tools: list[ChatTool] | None = None
    tool_choice: ToolChoice = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    functions: Annotated[Any, unsupported("send tools", [])] = None
    function_call: Annotated[Any, unsupported("send tool_choice", "auto", "none")] = None
    modalities: Annotated[Any, unsupported("answers are text", ["text"])] = None
    audio: Annotated[Any, unsupported("answers are text")] = None

    @model_validator(mode="after")
    def _check_room(self) -> "ChatRequest":
        is_json = schema_of(self.response_format) is not None
        check_room(self, LENGTHS, is_constrained=is_json or self.tool_choice == "required")
        return self

    @property
    def calls(self) -> Sequence[Call]:
        return self.answers_to(conversation([message.model_dump(exclude_unset=True) for message in self.messages]))

    @property
    def alternatives(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs or self.top_logprobs else None

    def options(self) -> Options:
        options = super().options()
        options["max_tokens"] = self.max_completion_tokens or self.max_tokens
        options["tools"] = [tool.model_dump(exclude_unset=True) for tool in self.tools or ()]
        options["tool_choice"] = self.tool_choice
        options["parallel_tool_calls"] = self.parallel_tool_calls
        if (schema := schema_of(self.response_format)) is not None:
            options["schema"] = schema
        return options


def schema_of(given: TextFormat | JsonObjectFormat | JsonSchemaFormat | None) -> dict[str, Any] | None:
    """Return the schema that a response format asks for, or None if it asks for text."""
    match given:
        case JsonObjectFormat(schema_=schema):
            return schema or {"type": "object"}
        case JsonSchemaFormat(json_schema=JsonSchema(schema_=schema)):
            return schema or {"type": "object"}
    return None


def conversation(messages: list[dict[str, Any]]) -> list[Message]:
    """Return messages as the engine takes them. The last one may be empty at OpenAI; for the engine it is a space."""
    *before, last = messages
    is_empty = last["role"] not in ("tool", "function") and not without_empty_end([last])
    return [*before, {**last, "content": " "} if is_empty else last]
