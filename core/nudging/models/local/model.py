"""A model in this process, through transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nudging.models.decoding.model import InProcessModel
from nudging.models.local.loading import LoadingOptions
from nudging.models.local.weights import Weights
from nudging.models.tokenizer import TransformersTokenizer


class LocalModel(InProcessModel):
    """A transformers model, loaded at its first use and shared by all its sessions.

    Args:
        name: A hub id, a folder, or a GGUF file.
        kept_caches: Number of idle KV caches that are kept for prompts with the same start.
        **options: The fields of `LoadingOptions`.
    """

    def __init__(self, name: str | Path, *, kept_caches: int = 4, **options: Any) -> None:
        self._options = LoadingOptions(**{field: value for field, value in options.items() if value is not None})
        self._tokenizer = TransformersTokenizer(name, self._options.revision, self._options.model_kwargs)
        self.weights = Weights(self._tokenizer, self._options)
        super().__init__(str(name), self.weights, kept_caches)

    def load(self) -> None:
        super().load()
        _ = self._tokenizer.loaded  # reading a large vocabulary takes seconds, which the first answer should not take

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"name": self.name, **self._options.identity}

    @property
    def tokenizer(self) -> TransformersTokenizer:
        self.weights.load_config()  # a model that cannot be used is refused before prompts are rendered for it
        return self._tokenizer

    @property
    def vocabulary(self) -> dict[str, int]:
        return self.tokenizer.vocabulary
