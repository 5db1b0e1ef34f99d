"""Settings that shape an answer: the one declaration of their names, ranges, defaults and help texts.

`NudgerConfig`, the options of a call, the command line and the server's request fields are built from it.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from annotated_types import Len
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from nudging.errors import SettingsError

SEEDS = 2**63
"""Seeds are below this number."""

SECRET = "secret"  # noqa: S105
"""Type of a pydantic error whose input must not be shown."""

RuleName: TypeAlias = Literal["words", "tokens", "bet", "blend"]
"""The rules that decide who writes: see `rules/`."""

SURE_END = 0.5
"""The sure end of assistants: the default of `end` in LangChain, LlamaIndex, `nudging ask`, `chat` and `serve`."""

NUMBERS: Mapping[RuleName, tuple[str, ...]] = {
    "words": ("threshold", "lookahead"),
    "tokens": ("threshold", "lookahead"),
    "bet": ("bet", "lookahead"),
    "blend": ("threshold", "lookahead"),
}
"""The settings that each rule reads, its most important number first. All rules read `end`."""

M = TypeVar("M", bound=BaseModel)


def _as_tuple(stop: object) -> object:
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str) else tuple(stop) if isinstance(stop, list) else stop


Rule = Annotated[
    RuleName,
    Field(description="Who writes each part: words (the paper's program), tokens, bet or blend; see docs/rule.md"),
]
Threshold = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="The base model writes while its top-1 probability is at least this, in [0, 1] (the paper's γ); "
        "default: the paper's value for the base model's family, else 0.4",
    ),
]
Bet = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="Rule bet: the base model writes a token unless the nudging model's top token is more probable by "
        "more than this, in [0, 1] (the source's λ)",
    ),
]
End = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="The answer ends where the nudging model ends its turn with at least this probability, in [0, 1], "
        "however sure the base model is; 0 leaves this out",
    ),
]
Lookahead = Annotated[int, Field(ge=1, description="Length of the nudging model's proposals, in its tokens")]
MaxTokens = Annotated[int, Field(ge=1, description="Maximum length of an answer, in base-model tokens")]
Temperature = Annotated[
    float, Field(ge=0, allow_inf_nan=False, description="0 decodes greedily; above 0 tokens are sampled")
]
TopP = Annotated[
    float, Field(ge=0, le=1, description="Sample from the most probable tokens that together reach this probability")
]
Seed = Annotated[
    int, Field(ge=0, lt=SEEDS, description="The same seed gives the same answer; without one every call draws its own")
]
Logprobs = Annotated[
    bool, Field(description="Return the base model's log-probability of every token (one more forward pass)")
]
Stop = Annotated[
    tuple[Annotated[str, Len(1)], ...],
    BeforeValidator(_as_tuple),
    Field(description="One string or several that end the answer and are not part of it"),
]


class SettingsFields(BaseModel):
    """The settings as pydantic fields. `Settings` and `NudgerConfig` inherit them."""

    rule: Rule = "words"
    threshold: Threshold = 0.4
    bet: Bet = 0.2
    end: End = 0.0
    lookahead: Lookahead = 16
    max_tokens: MaxTokens = 256
    temperature: Temperature = 0.0
    top_p: TopP = 1.0
    seed: Seed | None = None
    """The same seed gives the same sampled answer. Without one, every call draws a seed of its own."""
    stop: Stop = ()
    logprobs: Logprobs = False


class SettingsOptions(TypedDict, total=False):
    """The names and types of `SettingsFields` for type checkers, as options of one call. None means "not given"."""

    rule: RuleName | None
    threshold: float | None
    bet: float | None
    end: float | None
    lookahead: int | None
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    seed: int | None
    stop: str | list[str] | tuple[str, ...] | None
    logprobs: bool | None


class Settings(SettingsFields):
    """The settings of one answer, checked and immutable."""

    model_config = ConfigDict(frozen=True)

    @property
    def rule_used(self) -> dict[str, str | float]:
        """The rule and the numbers that it reads, by name."""
        return {name: getattr(self, name) for name in ("rule", *NUMBERS[self.rule], "end")}

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> "Settings":
        """Return settings with these values.

        Raises:
            SettingsError: A value is out of range, or a name is unknown.
        """
        return checked(cls, values)

    def updated(self, values: Mapping[str, Any]) -> "Settings":
        """Return these settings with some values replaced. A value of None changes nothing.

        Raises:
            SettingsError: A value is out of range, or a name is unknown.
        """
        given = {name: value for name, value in values.items() if value is not None}
        return self.checked(self.model_dump() | given) if given else self

    def with_seed(self) -> "Settings":
        """Return these settings with a random seed, if sampling needs a seed and none is set."""
        if self.temperature == 0 or self.seed is not None:
            return self
        return self.model_copy(update={"seed": secrets.randbelow(SEEDS)})


def checked(model: type[M], values: Mapping[str, Any], prefix: str = "") -> M:
    """Return a pydantic model with these values, validated strictly.

    Args:
        model: The class of the model.
        values: The fields' values by name.
        prefix: What users write before a field's name: "base_" for the field `url` of the base model.

    Raises:
        SettingsError: A value is out of range, or a name is unknown. The message names each of them.
    """
    for name in values:
        if name not in model.model_fields:
            known = ", ".join(prefix + field for field in model.model_fields)
            raise SettingsError(f"there is no setting {prefix + name!r}: choose from {known}")
    try:
        return model.model_validate(dict(values), strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    raise SettingsError("; ".join(_sentences(model, problems, prefix)))


def _sentences(model: type[BaseModel], problems: Iterable[Mapping[str, Any]], prefix: str) -> Iterator[str]:
    """Yield one sentence per field that is wrong. A union reports a problem per branch; the last is enough."""
    for name, problem in {str(problem["loc"][0]): problem for problem in problems}.items():
        field = model.model_fields[name]
        is_secret = field.exclude or problem["type"] == SECRET
        is_secret = is_secret or problem["type"] == "missing"  # whose input is all values
        value = "" if is_secret else f"={problem['input']!r}"
        meaning = f" ({field.description})" if field.description else ""
        yield f"{prefix}{name}{value}: {problem['msg'].removeprefix('Value error, ')}{meaning}"
