"""A GGUF file as an engine of `decoding/`."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from nudging.grammar.grammar import Grammar
from nudging.models.base import Sampling
from nudging.models.decoding.engine import Engine
from nudging.models.decoding.sampling import Choice, choose, logprobs
from nudging.models.decoding.timing import PassTimer
from nudging.models.decoding.token_mask import TokenMask
from nudging.models.llamacpp.context import Context
from nudging.models.llamacpp.kv_cache import SequenceCache
from nudging.models.llamacpp.vocabulary import BytesDetokenizer
from nudging.models.llamacpp.weights import Weights


class LlamaCppEngine(Engine):
    """A GGUF file in llama.cpp, loaded at its first use.

    Args:
        find: Returns the path of the file.
        n_ctx: Maximum length of the context in tokens; by default what the model was trained with.
        n_gpu_layers: Number of layers on the GPU; by default llama.cpp's choice.
        n_threads: Number of threads of a forward pass; by default one per core.
        lora: LoRA adapters in GGUF, with their scales.
        drop_idle: Drops a KV cache that no session uses. Returns False if there is none.
    """

    def __init__(
        self,
        find: Callable[[], Path],
        n_ctx: int | None,
        n_gpu_layers: int | None,
        n_threads: int | None,
        lora: Mapping[str, float],
        drop_idle: Callable[[], bool],
    ) -> None:
        super().__init__(PassTimer())
        self._find, self._n_ctx, self._n_gpu_layers = find, n_ctx, n_gpu_layers
        self._n_threads, self._lora, self._drop_idle = n_threads, lora, drop_idle
        self._loading = RLock()
        self._weights: Weights | None = None
        self._context: Context | None = None

    def load(self) -> Weights:
        with self._loading:
            if self._weights is None:
                self._weights = Weights(self._find(), self._n_gpu_layers, self._lora)
            return self._weights

    @property
    def context_length(self) -> int:
        trained = self.load().context_length
        return trained if self._n_ctx is None else min(self._n_ctx, trained)

    @property
    def end_tokens(self) -> Collection[int]:
        return self.load().vocabulary.end_tokens

    def new_cache(self) -> SequenceCache:
        return SequenceCache(self.context())

    def context(self) -> Context:
        """Return llama.cpp's context, created at its first use."""
        with self._loading:
            if self._context is None:
                threads = self._n_threads or _cores()
                self._context = Context(self.load(), threads, self.timer, self._drop_idle)
            return self._context

    def detokenizer(self, prefix: Sequence[int]) -> BytesDetokenizer:
        return BytesDetokenizer(self.load().vocabulary)

    def token_mask(self, grammar: Grammar) -> TokenMask:
        vocabulary = self.load().vocabulary
        with self._loading:
            tokenizer = vocabulary.guidance_tokenizer
        return TokenMask(grammar, tokenizer, vocabulary.end_tokens)

    def choose(
        self,
        logits: Any,
        positions: Sequence[int],
        sampling: Sampling | None,
        masks: NDArray[np.bool_] | None = None,
        alternatives: int = 0,
    ) -> list[Choice]:
        return choose(logits, positions, sampling, masks, alternatives)

    def logprobs(self, logits: Any, tokens: Sequence[int]) -> list[float]:
        return logprobs(logits, tokens)

    def to_array(self, logits: Any) -> NDArray[np.float32]:
        return np.array(logits)


def _cores() -> int:
    """Return the number of cores that this process may use: `$OMP_NUM_THREADS`, as for torch, or all of them.

    Two threads on one core only get in each other's way.
    """
    if (limit := os.environ.get("OMP_NUM_THREADS", "")).isdecimal() and int(limit) > 0:
        return int(limit)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(psutil.cpu_count(logical=False) or usable, usable)
