"""By what a nudged model is known to LangChain: in caches and in traces."""

from typing import Any

from langchain_core.language_models import LangSmithParams
from nudging import Nudger
from nudging.config import NudgerConfig


class Identified(NudgerConfig):
    """To be inherited before one of LangChain's model classes."""

    @property
    def nudger(self) -> Nudger:
        """The engine with the fields as they are now. It is light: models are shared by name."""
        return Nudger.from_config(self)

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """The key of the cache: all that shapes an answer."""
        return dict(self.nudger.identity)

    def _nudger_for(self, options: dict[str, Any]) -> Nudger:
        """The engine for one call; `model` is taken out of its options and names another base model."""
        model = options.pop("model", None)
        return self.nudger if model is None else self.model_copy(update={"base_model": model}).nudger

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params: LangSmithParams = super()._get_ls_params(stop=stop, **kwargs)  # type: ignore[misc]
        params["ls_provider"] = "nudging"
        params.setdefault("ls_model_name", self.nudger.name)
        return params
