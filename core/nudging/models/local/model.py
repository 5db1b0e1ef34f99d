"""A model in this process, through transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nudging.models.decoding.model import InProcessModel
from nudging.models.local.weights import Weights
from nudging.models.tokenizer import TransformersTokenizer


class LocalModel(InProcessModel):
    """A transformers model, loaded at its first use and shared by all its sessions.

    Args:
        name: A hub id, a folder, or a GGUF file.
        revision: The revision of the hub repository.
        dtype: "float32", "bfloat16" or "float16"; by default float32 on a CPU and the checkpoint's own elsewhere.
        device: The device in torch's notation; by default the first accelerator, or else the CPU.
        device_map: A placement on several devices, as in `from_pretrained`. It replaces `device`.
        kept_caches: Number of idle KV caches that are kept for prompts with the same start.
    """

    def __init__(
        self,
        name: str | Path,
        *,
        revision: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
        device_map: str | dict[str, Any] | None = None,
        kept_caches: int = 4,
    ) -> None:
        self._options = {"revision": revision, "dtype": dtype, "device": device, "device_map": device_map}
        self._tokenizer = TransformersTokenizer(name, revision)
        self.weights = Weights(self._tokenizer, dtype, device, device_map)
        super().__init__(str(name), self.weights, kept_caches)

    def load(self) -> None:
        super().load()
        _ = self._tokenizer.loaded  # reading a large vocabulary takes seconds, which the first answer should not take

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"name": self.name, **self._options}

    @property
    def tokenizer(self) -> TransformersTokenizer:
        self.weights.load_config()  # a model that cannot be used is refused before prompts are rendered for it
        return self._tokenizer

    @property
    def vocabulary(self) -> dict[str, int]:
        return self.tokenizer.vocabulary
