"""A model in this process, through transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nudging.answer import Author
from nudging.grammar.grammar import Grammar
from nudging.models.base import Model, Sampling
from nudging.models.local.kv_cache import CachePool
from nudging.models.local.session import LocalSession
from nudging.models.local.weights import Weights
from nudging.models.tokenizer import TransformersTokenizer


class LocalModel(Model):
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
        self.name = str(name)
        self._options = {"revision": revision, "dtype": dtype, "device": device, "device_map": device_map}
        self._tokenizer = TransformersTokenizer(name, revision)
        self.weights = Weights(self._tokenizer, dtype, device, device_map)
        self.caches = CachePool(kept_caches)

    def __repr__(self) -> str:
        return f"LocalModel({self.name!r})"

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"name": self.name, **self._options}

    def load(self) -> None:
        self.weights.load()

    @property
    def tokenizer(self) -> TransformersTokenizer:
        self.weights.load_config()  # a model that cannot be used is refused before prompts are rendered for it
        return self._tokenizer

    @property
    def context_length(self) -> int:
        return self.weights.context_length

    def session(
        self, prompt: str, *, author: Author, sampling: Sampling | None = None, grammar: Grammar | None = None
    ) -> LocalSession:
        special_tokens = author == "base"
        tokens = len(self.tokenizer.encode(prompt, special_tokens=special_tokens))
        self.check_prompt_length(tokens, author)
        return LocalSession(
            self.weights, self._tokenizer, self.caches, prompt, tokens, special_tokens, sampling, grammar
        )
