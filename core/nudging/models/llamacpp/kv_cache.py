"""KV caches of llama.cpp: one sequence each of a context that all of them share."""

import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from nudging.models.decoding.kv_cache import KVCache
from nudging.models.llamacpp.context import Context

T = TypeVar("T")

SNAPSHOTS = 4
"""Number of earlier states that are kept of a sequence that cannot be cropped."""


class SequenceCache(KVCache):
    """One sequence in llama.cpp's memory.

    Attention layers are cropped at any point. The state of recurrent layers cannot be: of such a model, snapshots are
    kept of the ends of longer passes (the prompt, the other model's words), where the rule comes back to. Going back
    is going to the nearest snapshot.

    Args:
        context: The context.
    """

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self._sequence = context.new_sequence()
        self._snapshots: list[tuple[int, bytes]] = []  # (length, state)
        weakref.finalize(self, context.release, self._sequence)

    def _run(self, tokens: list[int], keep: int, read: Callable[[Any], T]) -> T:
        result = self._context.run(self._sequence, self.tokens, tokens, keep, read)
        if not self._context.can_crop and len(tokens) > 1:
            self._snapshots = [
                *self._snapshots[-SNAPSHOTS + 1 :],
                (len(self.tokens) + len(tokens), self._context.snapshot(self._sequence)),
            ]
        return result

    def _clear(self) -> None:
        self._sequence.valid = 0
        self._snapshots = []

    def _crop(self, length: int) -> int:
        if self._context.can_crop:
            self._sequence.valid = min(self._sequence.valid, length)
            return length
        self._snapshots = [one for one in self._snapshots if one[0] <= length]
        return self._restore(self._snapshots)

    def _fork(self, length: int) -> "tuple[SequenceCache, int]":
        fork = SequenceCache(self._context)
        if self._context.can_crop:
            is_copied = self._context.copy(self._sequence, fork._sequence, length)
            return fork, length if is_copied else 0
        snapshots = [one for one in self._snapshots if one[0] <= length]
        if snapshots and self._context.copy(self._sequence, fork._sequence, len(self.tokens)):
            fork._snapshots = snapshots
        return fork, fork._restore(fork._snapshots)

    def _restore(self, snapshots: list[tuple[int, bytes]]) -> int:
        """Go back to the last of these snapshots. Return its length."""
        length, state = snapshots[-1] if snapshots else (0, None)
        self._sequence.valid, self._sequence.state = length, state
        return length
