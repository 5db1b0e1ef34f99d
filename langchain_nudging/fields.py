"""Fields of a nudged model in LangChain, and its identity in caches and traces."""

import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any

from langchain_core.language_models import LangSmithParams
from nudging import Model, Nudger, SettingsError
from nudging._logging import log_once
from nudging.config import NudgerConfig
from nudging.settings import SURE_END, End
from pydantic import Field, model_validator
from typing_extensions import Self

from langchain_nudging.schemas import engine_options

IGNORED_OPTIONS = {
    *("extra_body", "extra_headers", "extra_query", "metadata", "prompt_cache_key", "safety_identifier"),
    *("service_tier", "store", "stream", "stream_options", "stream_usage", "strict", "top_logprobs", "user"),
}
"""Options of a call at other providers that do not change the text of an answer."""

NEUTRAL_IF_EMPTY = "frequency_penalty", "presence_penalty", "logit_bias"
"""Options of other providers that change nothing if they are 0 or empty. Other values are refused."""


class NudgerFields(NudgerConfig):
    """The fields, cache key and trace parameters of a nudged model. Inherit it before one of LangChain's classes."""

    end: End = SURE_END
    streaming: Annotated[bool, Field(description="Report each token to callbacks in `invoke` too")] = False

    @model_validator(mode="before")
    @classmethod
    def _given_fields(cls, values: Any) -> Any:
        """Leave out fields that are None, which means "not given", and warn of those that do not exist."""
        if not isinstance(values, Mapping):
            return values
        for name in set(values) - set(cls.model_fields):
            nearest = get_close_matches(name, cls.model_fields, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"{cls.__name__}.model_fields has all arguments"
            warnings.warn(f"{cls.__name__} has no argument {name!r}, it is ignored: {hint}", stacklevel=4)
        return {name: value for name, value in values.items() if value is not None and name in cls.model_fields}

    @property
    def nudger(self) -> Nudger:
        """The engine with the current fields. Building it is cheap, because weights are shared by model name."""
        return Nudger.from_config(self)

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """The cache key: everything that shapes an answer."""
        return dict(self.nudger.identity)

    def get_token_ids(self, text: str) -> list[int]:
        """Return the base model's tokens of a text, without special tokens."""
        return self.nudger.base_model.tokenizer.encode(text, special_tokens=False)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a copy that shares the models: weights are never copied."""
        memo = {} if memo is None else memo
        memo |= {id(model): model for model in (self.base_model, self.nudging_model) if isinstance(model, Model)}
        return super().__deepcopy__(memo)

    def _prepared(self, kwargs: Mapping[str, Any]) -> tuple[Nudger, dict[str, Any], dict[str, str]]:
        """Return the engine for one call, the call's options, and the tools' own names.

        The option `model` replaces the base model; `timeout` and `max_retries` replace those fields.

        Raises:
            SettingsError: More than one answer is asked for.
            GrammarError: A tool or a schema cannot be used.
        """
        options, names = engine_options({name: value for name, value in kwargs.items() if value is not None})
        if (count := options.pop("n", 1)) != 1:
            raise SettingsError(f"n={count}: a call gives one answer; pass the prompt {count} times to batch instead")
        for name in IGNORED_OPTIONS & set(options):
            if options.pop(name) and name not in ("stream", "strict"):  # LangChain's own, and always true
                log_once(f"the option {name!r} of other providers does not change an answer here, and is ignored")
        for name in NEUTRAL_IF_EMPTY:
            if not options.get(name):
                options.pop(name, None)
        if "max_completion_tokens" in options:  # OpenAI's newer name
            options["max_tokens"] = options.pop("max_completion_tokens")
        replaced: dict[str, Any] = {name: options.pop(name) for name in ("timeout", "max_retries") if name in options}
        if "model" in options:
            replaced["base_model"] = options.pop("model")
        return (self.model_copy(update=replaced) if replaced else self).nudger, options, names

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params: LangSmithParams = super()._get_ls_params(stop=stop, **kwargs)  # type: ignore[misc]
        params["ls_provider"] = "nudging"
        params.setdefault("ls_model_name", self.nudger.name)
        return params
