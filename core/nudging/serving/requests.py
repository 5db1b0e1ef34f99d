"""The requests of OpenAI's API, and the engine's prompts and options for them.

The settings fields (threshold, max_tokens, temperature, …) are those of `SettingsFields`, and null means "not given".
`stop` and `seed` follow OpenAI's rules. Unknown fields are ignored, as OpenAI's servers do.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from nudging.prompting.conversation import Message, Prompt
from nudging.request import Options
from nudging.settings import MaxTokens, SettingsFields


def _unsupported(reason: str, *neutral: object) -> BeforeValidator:
    """Refuse every value of a field except null and those that change nothing.

    Args:
        reason: The reason why the field is not supported.
        *neutral: The values that are accepted.
    """

    def check(value: object) -> object:
        if value is not None and value not in neutral:
            raise ValueError(f"{value!r} is not supported: {reason}")
        return value

    return BeforeValidator(check)


class _Body(BaseModel):
    model_config = ConfigDict(strict=True)


class StreamOptions(_Body):
    """Options of a streamed answer."""

    include_usage: bool | None = None


def _optional(field: FieldInfo) -> Any:
    """Return the definition of a request field that holds this setting or null."""
    return Annotated[(field.annotation, *field.metadata, Field(description=field.description))] | None, None


# Built from `SettingsFields`, so that a new setting is a field of requests too.
_SettingsBody: Any = create_model(
    "_SettingsBody",
    __base__=_Body,
    **{name: _optional(field) for name, field in SettingsFields.model_fields.items()},
)


class _Request(_SettingsBody):  # type: ignore[misc]
    """The fields that both kinds of requests have."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: Annotated[
        str | Annotated[list[str], Field(max_length=16)] | None, AfterValidator(lambda stop: stop or None)
    ] = None
    seed: Annotated[int, AfterValidator(abs)] | None = None
    n: Annotated[Any, _unsupported("one answer per request", 1)] = None
    frequency_penalty: Annotated[Any, _unsupported("there are no penalties", 0, 0.0)] = None
    presence_penalty: Annotated[Any, _unsupported("there are no penalties", 0, 0.0)] = None
    logit_bias: Annotated[Any, _unsupported("the two models do not share their tokens", {})] = None

    @property
    def include_usage(self) -> bool:
        """True if a stream ends with a chunk of token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def options(self) -> Options:
        """Return the options of the call."""
        return cast("Options", {name: getattr(self, name) for name in SettingsFields.model_fields})


class JsonSchema(_Body):
    """A named JSON schema."""

    name: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(_Body):
    """The format of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatRequest(_Request):
    """The body of `POST /v1/chat/completions`."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_completion_tokens: MaxTokens | None = None
    top_logprobs: Annotated[Any, _unsupported("only the answer's own tokens are scored", 0)] = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None

    @property
    def prompts(self) -> Sequence[Prompt]:
        """The conversation, as the only prompt."""
        return [[_engine_message(message) for message in self.messages]]

    def options(self) -> Options:
        """Return the options of the call."""
        options = super().options()
        options["max_tokens"] = self.max_completion_tokens or self.max_tokens
        options["tools"], options["tool_choice"] = self.tools, self.tool_choice
        options["parallel_tool_calls"] = self.parallel_tool_calls
        if self.response_format and self.response_format.type != "text":
            given = self.response_format.json_schema
            options["schema"] = given.schema_ if given else {"type": "object"}
        return options


class CompletionRequest(_Request):
    """The body of `POST /v1/completions`. A prompt is the user's message of a conversation."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=64)]
    logprobs: Annotated[int, Field(ge=0, le=1), AfterValidator(lambda _: True)] | None = None
    echo: Annotated[Any, _unsupported("an answer never repeats its prompt", False)] = None
    suffix: Annotated[Any, _unsupported("an answer has no suffix", "")] = None
    best_of: Annotated[Any, _unsupported("one answer per prompt", 1)] = None

    @property
    def prompts(self) -> Sequence[Prompt]:
        """All prompts."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


Request: TypeAlias = ChatRequest | CompletionRequest


def _engine_message(message: dict[str, Any]) -> Message:
    role = "system" if message.get("role") == "developer" else message.get("role")
    return {**message, "role": role, "content": _text(message.get("content"))}


def _text(content: Any) -> Any:
    """Return the content as one text. The engine refuses content that is not text, with its own message."""
    if content is None:
        return ""
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "".join(str(part.get("text", "")) for part in content)
    return content
