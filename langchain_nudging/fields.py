"""Identifies a nudged model in LangChain's caches and traces."""

from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import LangSmithParams
from nudging import Nudger
from nudging.config import NudgerConfig


class NudgerFields(NudgerConfig):
    """The fields, cache key and trace parameters of a nudged model. Inherit it before one of LangChain's classes."""

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

    def _nudger_and_options(self, kwargs: Mapping[str, Any]) -> tuple[Nudger, dict[str, Any]]:
        """Return the engine for one call, and the call's options. The option `model` replaces the base model."""
        options = dict(kwargs)
        model = options.pop("model", None)
        return self.nudger if model is None else self.model_copy(update={"base_model": model}).nudger, options

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params: LangSmithParams = super()._get_ls_params(stop=stop, **kwargs)  # type: ignore[misc]
        params["ls_provider"] = "nudging"
        params.setdefault("ls_model_name", self.nudger.name)
        return params
