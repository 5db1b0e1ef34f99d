"""The engine's settings, checked where they enter.

The annotated types are shared with the wrappers, so that a field means the same and is checked alike everywhere.
"""

import secrets
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Len
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from nudging.errors import SettingsError

SEEDS = 2**63

DTYPES = ("float32", "bfloat16", "float16")


def _one_or_many(stop: object) -> object:
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str) else tuple(stop) if isinstance(stop, list) else stop


Threshold = Annotated[
    float, Field(ge=0, le=1, description="The base model writes while its top-1 probability is at least this")
]
Lookahead = Annotated[int, Field(ge=1, description="Length of the nudging model's proposals, in its tokens")]
MaxTokens = Annotated[int, Field(ge=1, description="Length of an answer, in base-model tokens")]
Temperature = Annotated[float, Field(ge=0, allow_inf_nan=False, description="0 is greedy")]
TopP = Annotated[float, Field(gt=0, le=1, description="Sample from the most probable tokens that together reach this")]
Seed = Annotated[int, Field(ge=0, lt=SEEDS, description="Same seed, same answer; without one every call draws its own")]
Logprobs = Annotated[bool, Field(description="Say how probable the base model finds every token of the answer")]
Stop = Annotated[
    tuple[Annotated[str, Len(1)], ...],
    BeforeValidator(_one_or_many),
    Field(description="Strings that end the answer and are not part of it"),
]


class Settings(BaseModel):
    """What shapes an answer, besides the models and the prompts."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    threshold: Threshold = 0.4
    lookahead: Lookahead = 16
    max_tokens: MaxTokens = 256
    temperature: Temperature = 0.0
    top_p: TopP = 1.0
    seed: Seed | None = None
    stop: Stop = ()
    logprobs: Logprobs = False

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> "Settings":
        """Settings of these values.

        Raises:
            SettingsError: A value is out of its range, or a name is unknown.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise SettingsError("; ".join(map(_sentence, error.errors()))) from None

    def updated(self, values: Mapping[str, Any]) -> "Settings":
        """These settings with some values replaced, for one call; None stands for a value that was not given.

        Raises:
            SettingsError: A value is out of its range, or a name is unknown.
        """
        given = {name: value for name, value in values.items() if value is not None}
        return self.checked(self.model_dump() | given) if given else self

    def with_seed(self) -> "Settings":
        """These settings with a seed drawn, if sampling needs one and none is given."""
        if self.temperature == 0 or self.seed is not None:
            return self
        return self.model_copy(update={"seed": secrets.randbelow(SEEDS)})


def _sentence(problem: Mapping[str, Any]) -> str:
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"there is no setting {name!r}: choose from {', '.join(Settings.model_fields)}"
    meaning = Settings.model_fields[name].description
    return f"{name}={problem['input']!r}: {problem['msg']}" + (f" ({meaning})" if meaning else "")
