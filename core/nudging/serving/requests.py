"""What may be asked, in OpenAI's words, and what that is in the engine's."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from nudging.prompting.conversation import Message
from nudging.request import Options

Number = StrictInt | StrictFloat
Text = StrictStr


def _refused(what: str, *neutral: object) -> BeforeValidator:
    """A field that is not supported, and may only say what is the case anyway."""

    def check(value: object) -> object:
        if value is not None and value not in neutral:
            raise ValueError(f"{value!r} is not supported: {what}")
        return value

    return BeforeValidator(check)


class StreamOptions(BaseModel):
    """Of a streamed answer."""

    include_usage: StrictBool | None = None


class _Request(BaseModel):
    """What both kinds of requests may have. Fields that are not named here are left aside, as OpenAI's servers do."""

    model: Text | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    stop: Text | Annotated[list[Text], Field(max_length=16)] | None = None
    seed: StrictInt | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    max_tokens: StrictInt | None = None
    n: Annotated[Any, _refused("one answer a request", 1)] = None
    frequency_penalty: Annotated[Any, _refused("a nudged answer has no penalties", 0, 0.0)] = None
    presence_penalty: Annotated[Any, _refused("a nudged answer has no penalties", 0, 0.0)] = None
    logit_bias: Annotated[Any, _refused("two models have no tokens in common", {})] = None
    threshold: Number | None = Field(default=None, description="Nudging's own: the base model writes from this on")
    lookahead: StrictInt | None = Field(default=None, description="Nudging's own: length of the proposals")

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk that says what the answer cost."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def _settings(self) -> Options:
        return {
            "stop": self.stop or None,
            "seed": None if self.seed is None else abs(self.seed),
            "temperature": None if self.temperature is None else float(self.temperature),
            "top_p": None if self.top_p is None else float(self.top_p),
            "max_tokens": self.max_tokens,
            "threshold": None if self.threshold is None else float(self.threshold),
            "lookahead": self.lookahead,
        }


class JsonSchema(BaseModel):
    """A schema by a name."""

    name: Text | None = None
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(BaseModel):
    """What the answer shall be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatRequest(_Request):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_completion_tokens: StrictInt | None = None
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[Any, _refused("only the answer's own tokens are scored", 0)] = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Text | dict[str, Any] | None = None
    parallel_tool_calls: StrictBool | None = None
    response_format: ResponseFormat | None = None

    def conversation(self) -> list[Message]:
        """The messages as the engine takes them."""
        return [_turn(message) for message in self.messages]

    def options(self) -> Options:
        """The rest."""
        options = self._settings()
        if self.max_completion_tokens is not None:
            options["max_tokens"] = self.max_completion_tokens
        options["logprobs"] = self.logprobs
        options["tools"], options["tool_choice"] = self.tools, self.tool_choice
        options["parallel_tool_calls"] = self.parallel_tool_calls
        if self.response_format and self.response_format.type != "text":
            given = self.response_format.json_schema
            options["schema"] = given.schema_ if given else {"type": "object"}
        return options


class CompletionRequest(_Request):
    """`POST /v1/completions`. A prompt is the user's turn of a conversation, as with the LLM classes."""

    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=64)]
    logprobs: Annotated[StrictInt | None, Field(ge=0, le=1)] = None
    echo: Annotated[Any, _refused("an answer never repeats its prompt", False)] = None
    suffix: Annotated[Any, _refused("answers have no suffix", "")] = None
    best_of: Annotated[Any, _refused("one answer a prompt", 1)] = None

    @property
    def prompts(self) -> list[str]:
        """All of them."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    def options(self) -> Options:
        """The rest."""
        options = self._settings()
        options["logprobs"] = None if self.logprobs is None else True
        return options


def _turn(message: dict[str, Any]) -> Message:
    role = "system" if message.get("role") == "developer" else message.get("role")
    return {**message, "role": role, "content": _content(message.get("content"))}


def _content(content: Any) -> Any:
    """Parts of text put together; anything else is left for the engine to refuse."""
    if content is None:
        return ""
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "".join(str(part.get("text", "")) for part in content)
    return content
