"""A model in this process, through llama.cpp."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nudging.models.decoding.model import InProcessModel
from nudging.models.gguf_files import gguf_file
from nudging.models.llamacpp.engine import LlamaCppEngine
from nudging.models.llamacpp.tokenizer import GGUFTokenizer


class LlamaCppModel(InProcessModel):
    """A GGUF file, loaded at its first use and shared by all its sessions.

    Args:
        name: A path, or `repo:file.gguf` for a file on the hub.
        revision: The revision of the hub repository.
        n_ctx: Maximum length of the context in tokens; by default what the model was trained with. Memory grows with
            what is used of it.
        n_gpu_layers: Number of layers on the GPU; by default llama.cpp's choice (all that fit).
        n_threads: Number of threads of a forward pass; by default one per core.
        lora: A LoRA adapter in GGUF, or several with their scales.
        kept_caches: Number of idle KV caches that are kept for prompts with the same start.
    """

    engine: LlamaCppEngine

    def __init__(
        self,
        name: str | Path,
        *,
        revision: str | None = None,
        n_ctx: int | None = None,
        n_gpu_layers: int | None = None,
        n_threads: int | None = None,
        lora: str | Path | Mapping[str, float] | None = None,
        kept_caches: int = 4,
    ) -> None:
        scales = dict(lora) if isinstance(lora, Mapping) else {str(lora): 1.0} if lora else {}
        self._options = {"revision": revision, "n_ctx": n_ctx, "n_gpu_layers": n_gpu_layers, "lora": scales}
        engine = LlamaCppEngine(
            lambda: gguf_file(str(name), revision),
            n_ctx,
            n_gpu_layers,
            n_threads,
            scales,
            lambda: self.caches.drop(),
        )
        super().__init__(str(name), engine, kept_caches)
        if n_ctx is not None:
            self._longer_context = f"raise n_ctx={n_ctx}"
        self._tokenizer = GGUFTokenizer(self.name, engine.load)

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"name": self.name, "backend": "llamacpp", **self._options}

    @property
    def tokenizer(self) -> GGUFTokenizer:
        self.engine.load()  # a model that cannot be used is refused before prompts are rendered for it
        return self._tokenizer

    @property
    def vocabulary(self) -> dict[str, int]:
        vocabulary = self.tokenizer.vocabulary()
        return {vocabulary.text(token): token for token in range(vocabulary.size)}
