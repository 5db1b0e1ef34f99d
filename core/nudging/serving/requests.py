"""The base of all endpoints' requests: the settings, and refusals of fields that are not supported.

The settings fields (threshold, temperature, top_p, …) are those of `SettingsFields`, and null means "not given".
Unknown fields are ignored, as OpenAI's servers do.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic.fields import FieldInfo

from nudging.answer import Author
from nudging.prompting.conversation import Prompt
from nudging.request import Options
from nudging.settings import SEEDS, SettingsFields

Text = Annotated[str, Field(min_length=1)]

MOST_ANSWERS = 16
"""Maximum number of answers per prompt."""

MOST_ALTERNATIVES = 20
"""Maximum number of alternatives per token, as at OpenAI."""


def unsupported(reason: str, *neutral: object) -> BeforeValidator:
    """Refuse every value of a field except null and those that change nothing.

    Args:
        reason: The reason why the field is not supported.
        *neutral: The values that are accepted.
    """

    def check(value: object) -> object:
        is_neutral = value is None or any(value == one and type(value) is type(one) for one in neutral)
        if not is_neutral:
            raise ValueError(f"{value!r:.60} is not supported: {reason}")
        return value

    schema = WithJsonSchema({"enum": [None, *neutral]})
    return BeforeValidator(check, json_schema_input_type=Annotated[Any, schema])


class Body(BaseModel):
    """Part of a request's body."""

    model_config = ConfigDict(strict=True)


@dataclass(frozen=True, slots=True)
class Call:
    """One answer that a request asks for: its prompt and the options of the call."""

    prompt: Prompt
    options: Options


def _optional(field: FieldInfo) -> Any:
    """Return the definition of a request field that holds this setting or null."""
    return Annotated[(field.annotation, *field.metadata, Field(description=field.description))] | None, None


# Built from `SettingsFields`, so that a new setting is a field of requests too.
_SettingsBody: Any = create_model(
    "_SettingsBody",
    __base__=Body,
    **{name: _optional(field) for name, field in SettingsFields.model_fields.items()},
)


class GenerationRequest(_SettingsBody):  # type: ignore[misc]
    """A request for one answer or several."""

    model: str | None = None
    stream: bool | None = None
    seed: Annotated[int, AfterValidator(lambda seed: abs(seed) % SEEDS)] | None = None
    stop: Annotated[
        str | Annotated[list[Text], Field(max_length=16)] | None, AfterValidator(lambda stop: stop or None)
    ] = None
    alone: Annotated[Author, Field(description="Let this model of the pair answer by itself")] | None = None

    @model_validator(mode="before")
    @classmethod
    def _whole_numbers(cls, body: Any) -> Any:
        """Take 16.0 for 16: JSON does not tell them apart."""
        if not isinstance(body, dict):
            return body
        return {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name, value in body.items()
        }

    @property
    @abstractmethod
    def calls(self) -> Sequence[Call]:
        """The answers that are asked for, in order."""

    @property
    def alternatives(self) -> int | None:
        """The number of alternatives to list for each token, or None if no log-probabilities are wanted."""
        return 0 if self.logprobs else None

    @property
    def include_usage(self) -> bool:
        """True if a stream ends with the token counts."""
        return False

    def options(self) -> Options:
        """Return the options of the call. The log-probabilities are not among them: the server lets them be scored."""
        options = cast("Options", {name: getattr(self, name) for name in SettingsFields.model_fields})
        options["logprobs"] = None
        return options


class StreamOptions(Body):
    """Options of a streamed answer."""

    include_usage: bool | None = None


class CompletionsRequest(GenerationRequest):
    """The fields that `/v1/chat/completions` and `/v1/completions` have in common."""

    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=MOST_ANSWERS, description="Number of answers per prompt")] | None = None
    frequency_penalty: Annotated[Any, unsupported("there are no penalties", 0, 0.0)] = None
    presence_penalty: Annotated[Any, unsupported("there are no penalties", 0, 0.0)] = None
    logit_bias: Annotated[Any, unsupported("the two models do not share their tokens", {})] = None

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def answers_to(self, prompt: Prompt) -> list[Call]:
        """Return the calls for the `n` answers to a prompt. With a seed, each has a seed of its own."""
        options = self.options()
        seeds = [None if self.seed is None else (self.seed + number) % SEEDS for number in range(self.n or 1)]
        return [Call(prompt, cast("Options", {**options, "seed": seed})) for seed in seeds]
