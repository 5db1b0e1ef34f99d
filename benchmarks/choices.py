"""Choices of a real pair, recorded on one machine and played on another one with random weights of any shape.

The speed of an answer depends on the shapes of both models, on the engine and on the tokens that are chosen, but not on
the weights. So the choices of a pair are recorded once, where its weights are: the token and its probability after each
path of tokens. Elsewhere two models with random weights run every forward pass, and their choices are replaced by the
recorded ones. All of the engine runs as usual: tokenizers, drafts, their lengths by the measured cost of passes,
batches, and the copies from the device.

A path that was not recorded keeps the choice of the random weights. This happens after drafts that were rejected, and
where the nudging model is asked at a place where it was not asked while recording. Such drafts are wrong, so the speed
is at worst estimated too low.
"""

import json
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from nudging.models.decoding.kv_cache import KVCache
from nudging.models.decoding.sampling import Choice


class RecordedChoices:
    """The choices after paths of tokens, of both models: their tokenizers differ, and so do their paths."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[int, float]] = {}
        self.known = self.unknown = 0  # rows that were played

    @classmethod
    def load(cls, path: Path) -> "RecordedChoices":
        """Return the choices in a file."""
        loaded = cls()
        loaded.found = {key: (token, probability) for key, (token, probability) in json.loads(path.read_text()).items()}
        return loaded

    def save(self, path: Path) -> None:
        """Write the choices to a file."""
        path.write_text(json.dumps({key: (token, round(its, 6)) for key, (token, its) in self.found.items()}))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record all choices within this context."""

        def record(keys: list[str], choices: list[Choice]) -> list[Choice]:
            for key, choice in zip(keys, choices, strict=True):
                self.found.setdefault(key, (choice.token, choice.probability))
            return choices

        with _choices_go_through(record):
            yield

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Replace all choices that were recorded within this context."""

        def play(keys: list[str], choices: list[Choice]) -> list[Choice]:
            recorded = [self.found.get(key) for key in keys]
            unknown = recorded.count(None)
            self.unknown += unknown
            self.known += len(keys) - unknown
            return [Choice(*one) if one else other for one, other in zip(recorded, choices, strict=True)]

        with _choices_go_through(play):
            yield


@contextmanager
def _choices_go_through(change: Callable[[list[str], list[Choice]], list[Choice]]) -> Iterator[None]:
    """Let every pass over a cache return what `change` makes of its choices and of the keys of their paths."""
    original = KVCache.extend

    def extend(self: KVCache, tokens: list[int], keep: int, read: Callable[[Any], Any]) -> Any:
        choices = original(self, tokens, keep, read)
        return change(_keys(self.tokens, keep), choices) if isinstance(choices[0], Choice) else choices

    KVCache.extend = extend  # type: ignore[method-assign]
    try:
        yield
    finally:
        KVCache.extend = original  # type: ignore[method-assign]


def _keys(tokens: list[int], keep: int) -> list[str]:
    """Return the keys of the last `keep` paths that end with one of these tokens."""
    first = len(tokens) - keep + 1
    digest = blake2b(array("i", tokens[:first]).tobytes(), digest_size=8)
    keys = [digest.hexdigest()]
    for token in tokens[first:]:
        digest.update(array("i", [token]).tobytes())
        keys.append(digest.hexdigest())
    return keys
