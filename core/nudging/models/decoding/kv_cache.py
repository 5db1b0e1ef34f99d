"""KV caches. They hold, extend, crop and fork one token sequence each; `speculative.py` decides what to feed."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from itertools import takewhile
from threading import Lock
from typing import Any, Generic, TypeVar

from typing_extensions import Self

from nudging.models.decoding.sampling import Choice

T = TypeVar("T")


class KVCache(ABC):
    """The keys and values of one token sequence, and the model's choices along it."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.choices: list[Choice | None] = []  # choices[i]: the token chosen after tokens[: i + 1], None if unknown
        self._chosen_by: Hashable = None

    def choose_by(self, how: Hashable) -> None:
        """Forget the choices if they were made in another way than `how` (sampling, grammar)."""
        if how != self._chosen_by:
            self.choices = [None] * len(self.tokens)
            self._chosen_by = how

    def extend(self, tokens: list[int], keep: int, read: Callable[[Any], T]) -> T:
        """Run a forward pass over `tokens` after those held, and hold them too.

        Args:
            tokens: The new tokens.
            keep: The number of positions at the end whose logits are needed.
            read: Called with the logits after each of the last `keep` tokens, shape [keep, vocab]. They are valid only
                during the call.

        Returns:
            What `read` returns.
        """
        try:
            result = self._run(tokens, keep, read)
        except BaseException:
            # some layers may have been extended and others not: start again with an empty cache
            self.tokens, self.choices = [], []
            self._clear()
            raise
        self.tokens += tokens
        self.choices += [None] * len(tokens)
        return result

    def crop(self, length: int) -> None:
        """Drop all but the first `length` tokens. A state that cannot be cropped keeps fewer."""
        if length < len(self.tokens):
            length = self._crop(length)
            del self.tokens[length:], self.choices[length:]

    def fork(self, length: int) -> Self:
        """Return another cache with a copy of the first `length` tokens, or of fewer."""
        fork, length = self._fork(length)
        fork.tokens, fork.choices, fork._chosen_by = self.tokens[:length], self.choices[:length], self._chosen_by
        return fork

    @abstractmethod
    def _run(self, tokens: list[int], keep: int, read: Callable[[Any], T]) -> T: ...

    @abstractmethod
    def _clear(self) -> None: ...

    @abstractmethod
    def _crop(self, length: int) -> int: ...

    @abstractmethod
    def _fork(self, length: int) -> tuple[Self, int]: ...


C = TypeVar("C", bound=KVCache)


class CachePool(Generic[C]):
    """Idle KV caches of one model, kept for prompts with the same start.

    Args:
        new_cache: Returns an empty cache.
        size: The maximum number of idle caches.
    """

    def __init__(self, new_cache: Callable[[], C], size: int) -> None:
        self._new_cache, self._size = new_cache, size
        self._idle: list[C] = []  # the least recently used one first
        self._lock = Lock()

    def acquire(self, tokens: Sequence[int]) -> C:
        """Return the idle cache that shares the longest prefix with these tokens, for one session.

        If the rest of what it holds would be lost, and there is room, return a copy of the shared prefix instead.
        """
        with self._lock:
            has_room = len(self._idle) < self._size
            shared = [common_prefix_length(cache.tokens, tokens) for cache in self._idle]
            best = max(range(len(shared)), key=lambda i: (shared[i], i), default=0)
            length = shared[best] if shared else 0
            if not shared or (has_room and not length):
                return self._new_cache()
            cache = self._idle.pop(best if length else 0)
        if not has_room or length == len(cache.tokens):
            return cache
        fork = cache.fork(length)  # without the lock: it may wait for a pass, and a pass may drop idle caches
        self.release(cache)
        return fork

    def release(self, cache: C) -> None:
        """Keep a cache for later sessions."""
        with self._lock:
            self._idle.append(cache)
            del self._idle[: -self._size or None]

    def drop(self) -> bool:
        """Drop the cache that was not used for the longest time. Return False if none is idle."""
        with self._lock:
            return bool(self._idle) and self._idle.pop(0) is not None


def common_prefix_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the number of tokens that two sequences share at their start."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
