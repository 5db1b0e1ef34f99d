"""The body of `POST /v1/chat/completions`."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from nudging.request import Options
from nudging.serving.formats import JSON_FORMAT, ResponseFormat, schema_of
from nudging.serving.messages import ChatMessage, conversation
from nudging.serving.relations import check_room, relations
from nudging.serving.requests import MOST_ALTERNATIVES, Call, CompletionsRequest, unsupported
from nudging.serving.tools import ChatTool, ToolChoice
from nudging.settings import MaxTokens

LENGTHS = ("max_tokens", "max_completion_tokens")


class ChatRequest(CompletionsRequest):
    """The body of `POST /v1/chat/completions`."""

    model_config = ConfigDict(json_schema_extra=relations("response_format", JSON_FORMAT, LENGTHS))

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
