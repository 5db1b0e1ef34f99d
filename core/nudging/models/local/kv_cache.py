"""KV caches. They hold, extend, crop and fork one token sequence each; `speculative.py` decides what to feed."""

from collections.abc import Callable, Hashable, Sequence
from itertools import takewhile
from threading import Lock
from typing import cast

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from nudging.models.local.sampling import Choice

Forward = Callable[[list[int], DynamicCache, int], torch.Tensor]
"""(tokens, layers, keep) -> the logits after each of the last `keep` tokens, shape [keep, vocab]."""


class KVCache:
    """The keys and values of one token sequence, and the model's choices along it.

    All layers keep every position, also those with a sliding window, whose masks hide what is outside of the window:
    a layer that drops old positions could not be cropped.
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.choices: list[Choice | None] = []  # choices[i]: the token chosen after tokens[: i + 1], None if unknown
        self._layers = DynamicCache()  # keys and values per layer: [1, heads, len(tokens), head size]
        self._chosen_by: Hashable = None

    def choose_by(self, how: Hashable) -> None:
        """Forget the choices if they were made in another way than `how` (sampling, grammar)."""
        if how != self._chosen_by:
            self.choices = [None] * len(self.tokens)
            self._chosen_by = how

    def extend(self, tokens: list[int], forward: Forward, keep: int) -> torch.Tensor:
        """Run a forward pass over `tokens` after those held, and hold them too.

        Args:
            tokens: The new tokens.
            forward: Runs the pass.
            keep: The number of positions at the end whose logits are returned.

        Returns:
            The logits after each of the last `keep` tokens, shape [keep, vocab].
        """
        try:
            logits = forward(tokens, self._layers, keep)
        except BaseException:
            # some layers may have been extended and others not: start again with an empty cache
            self.tokens, self.choices, self._layers = [], [], DynamicCache()
            raise
        self.tokens += tokens
        self.choices += [None] * len(tokens)
        return logits

    def crop(self, length: int) -> None:
        """Drop all but the first `length` tokens."""
        if excess := len(self.tokens) - length:
            self._layers.crop(-excess)
            del self.tokens[length:], self.choices[length:]

    def fork(self, length: int) -> "KVCache":
        """Return another cache with a copy of the first `length` tokens."""
        fork = KVCache()
        fork.tokens, fork.choices, fork._chosen_by = self.tokens[:length], self.choices[:length], self._chosen_by
        if length:
            for index, layer in enumerate(cast("list[DynamicLayer]", self._layers.layers)):
                keys, values = cast("torch.Tensor", layer.keys), cast("torch.Tensor", layer.values)
                fork._layers.update(keys[..., :length, :], values[..., :length, :], index)
        return fork


class CachePool:
    """Idle KV caches of one model, kept for prompts with the same start.

    Args:
        size: The maximum number of idle caches.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._idle: list[KVCache] = []  # the least recently used one first
        self._lock = Lock()

    def acquire(self, tokens: Sequence[int]) -> KVCache:
        """Return the idle cache that shares the longest prefix with these tokens, for one session.

        If the rest of what it holds would be lost, and there is room, return a copy of the shared prefix instead.
        """
        with self._lock:
            if not self._idle:
                return KVCache()
            shared = [common_prefix_length(cache.tokens, tokens) for cache in self._idle]
            best = max(range(len(shared)), key=lambda i: (shared[i], i))
            if shared[best] < len(self._idle[best].tokens) and len(self._idle) < self._size:
                return self._idle[best].fork(shared[best])
            return self._idle.pop(best if shared[best] else 0)

    def release(self, cache: KVCache) -> None:
        """Keep a cache for later sessions."""
        with self._lock:
            self._idle.append(cache)
            del self._idle[: -self._size or None]


def common_prefix_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the number of tokens that two sequences share at their start."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
