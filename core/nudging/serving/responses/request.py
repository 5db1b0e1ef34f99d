"""The body of `POST /v1/responses`."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from nudging._logging import log_once
from nudging.request import Options
from nudging.serving.formats import JSON_TEXT, TextConfig, schema_of
from nudging.serving.messages import conversation
from nudging.serving.relations import check_room, relations
from nudging.serving.requests import MOST_ALTERNATIVES, Call, GenerationRequest, unsupported
from nudging.serving.responses.items import Item, messages_of
from nudging.serving.tools import FlatTool, HostedTool, ResponsesTool, ToolChoice
from nudging.settings import MaxTokens

LOGPROBS = "message.output_text.logprobs"
"""The entry of `include` that asks for log-probabilities."""

STATELESS = "nothing is stored here: send the whole conversation as input"


LENGTHS = ("max_tokens", "max_output_tokens")


class ResponsesRequest(GenerationRequest):
    """The body of `POST /v1/responses`."""

    model_config = ConfigDict(json_schema_extra=relations("text", JSON_TEXT, LENGTHS))

    input: str | Annotated[list[Item], Field(min_length=1)]
    instructions: str | None = None
    max_output_tokens: MaxTokens | None = None
    tools: list[ResponsesTool] | None = None
    tool_choice: ToolChoice = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    include: list[str] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_ALTERNATIVES)] | None = None
    metadata: dict[str, str] | None = None
    previous_response_id: Annotated[Any, unsupported(STATELESS)] = None
    conversation: Annotated[Any, unsupported(STATELESS)] = None
    prompt: Annotated[Any, unsupported("prompts are not stored here: send input")] = None
    background: Annotated[Any, unsupported("answers are sent while the client is connected", False)] = None

    @model_validator(mode="after")
    def _check_room(self) -> "ResponsesRequest":
        check_room(self, LENGTHS, is_constrained=self._schema is not None or self.tool_choice == "required")
        return self

    @property
    def calls(self) -> Sequence[Call]:
        messages = messages_of(self.input)
        if self.instructions:
            messages = [{"role": "system", "content": self.instructions}, *messages]
        return [Call(conversation(messages or [{"role": "user", "content": None}]), self.options())]

    @property
    def functions(self) -> list[FlatTool]:
        """The tools that are functions. Those that OpenAI hosts are left out."""
        for tool in self.tools or ():
            if isinstance(tool, HostedTool):
                log_once(f"a tool of type {tool.type!r:.40} is left out: only functions can be called")
        return [tool for tool in self.tools or () if isinstance(tool, FlatTool)]

    @property
    def alternatives(self) -> int | None:
        wanted = self.logprobs or self.top_logprobs or LOGPROBS in (self.include or ())
        return (self.top_logprobs or 0) if wanted else None

    def options(self) -> Options:
        options = super().options()
        options["max_tokens"] = self.max_output_tokens or self.max_tokens
        functions = [tool.model_dump(exclude={"type"}, exclude_unset=True) for tool in self.functions]
        options["tools"] = [{"type": "function", "function": function} for function in functions]
        options["tool_choice"], options["parallel_tool_calls"] = self.tool_choice, self.parallel_tool_calls
        if (schema := self._schema) is not None:
            options["schema"] = schema
        return options

    @property
    def _schema(self) -> dict[str, Any] | None:
        return schema_of(self.text.format) if self.text else None
