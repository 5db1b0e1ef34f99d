"""What may well come next: drafts, which a model checks in one forward pass in place of one pass a token.

A draft never changes what a model chooses (`KVCache.choices_after`), so it may come from anywhere, and it may be wrong.
It is fed as far as that saves time, which depends on the machine (`Pace`) and on how often such drafts were right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from time import perf_counter
from typing import Literal, NamedTuple, TypeAlias

from nudging.models.local.timing import Pace

LONGEST = 32
"""Tokens of a draft."""

CONTEXTS = (4, 3, 2, 1)
"""How many tokens have to agree for a passage to be taken up again, the most telling first."""

KEPT = 4096
"""Tokens that are remembered of what was dropped."""

Source: TypeAlias = tuple[Literal["other", "again"], int]
"""Who drafts: the other model, or what stood there before, by the number of tokens that agree."""

Guess: TypeAlias = Callable[[Sequence[int], int], list[int]]
"""(path, n) -> what the other model would write after it, n of its own tokens, in this model's."""


class _Draft(NamedTuple):
    source: Source
    start: int
    tokens: list[int]


@dataclass
class _Trust:
    """How often a source was right, token by token; the recent ones count more."""

    right: float = 1.0
    of: float = 2.0

    @property
    def share(self) -> float:
        return self.right / self.of

    def learn(self, right: int, wrong: int) -> None:
        for outcome in [1] * right + [0] * wrong:
            self.right, self.of = 0.95 * self.right + outcome, 0.95 * self.of + 1


class Drafts:
    """The drafts of one session.

    Args:
        pace: What forward passes of this session's model cost.
        room: Length of the model's context, in tokens.
    """

    def __init__(self, pace: Pace, room: int) -> None:
        self._pace, self._room = pace, room
        self._trust: dict[Source, _Trust] = {}
        self._hint: list[int] = []
        self._hint_start = 0
        self._guess: Guess | None = None
        self._guess_cost = 0.0  # seconds a token; nothing, until it was tried
        self._open: list[_Draft] = []  # not yet compared with what came
        self._dropped = ""

    def expect(self, start: int, hint: Sequence[int], guess: Guess | None) -> None:
        """What the other model wrote after the first `start` tokens, and how to have it write more."""
        self._hint, self._hint_start, self._guess = list(hint), start, guess

    def drop(self, tokens: Sequence[int]) -> None:
        """Remember what was written and is not to stay: it often comes again."""
        self._dropped = (self._dropped + _spelled(tokens) + "\n")[-KEPT:]

    def after(self, path: Sequence[int], new: int, limit: int) -> list[int]:
        """The draft that is worth feeding after the path, whose last `new` tokens have to be fed anyway."""
        self._learn(path)
        limit = min(limit, LONGEST, self._room - len(path))
        found = self._hinted(path) or self._seen(path)
        self._open = [found] if found else []
        if found:
            return found.tokens[: self._length(found.source, min(limit, len(found.tokens)), new)]
        return self._guessed(path, new, limit)

    def _hinted(self, path: Sequence[int]) -> _Draft | None:
        """The rest of the hint, if the path has followed it so far."""
        followed = len(path) - self._hint_start
        if followed < 0 or list(path[self._hint_start :]) != self._hint[:followed]:
            return None
        rest = self._hint[followed:]
        return _Draft(("other", 0), len(path), rest) if rest else None

    def _seen(self, path: Sequence[int]) -> _Draft | None:
        """What followed when the path's last tokens stood there before, in the path or in what was dropped."""
        text = _spelled(path)
        for length in CONTEXTS:
            end = text[-length:]
            if length > 1 and (at := text.rfind(end, 0, -1)) >= 0:
                return _Draft(("again", length), len(path), _tokens(text[at + length :]))
            if (at := self._dropped.rfind(end)) >= 0 and (rest := self._dropped[at + length :].partition("\n")[0]):
                return _Draft(("again", length), len(path), _tokens(rest))
        return None

    def _guessed(self, path: Sequence[int], new: int, limit: int) -> list[int]:
        """What the other model writes when it is asked, if that is likely to pay."""
        if not self._guess:
            return []
        length = self._length(("other", 0), limit, new, self._guess_cost)
        if not length:
            return []
        started = perf_counter()
        tokens = self._guess(path, length)[:limit]
        self._guess_cost = (perf_counter() - started) / length
        self._open = [_Draft(("other", 0), len(path), tokens)]
        return tokens

    def _length(self, source: Source, limit: int, new: int, seconds: float = 0.0) -> int:
        """The length at which most tokens a second are to be expected, for a draft of so many seconds a token."""
        share = self._trusted(source).share
        best, most = 0, 1 / self._pace.cost(new)
        expected, right = 1.0, 1.0
        for length in range(1, limit + 1):
            right *= share
            expected += right
            rate = expected / (self._pace.cost(new + length) + length * seconds)
            if rate > most:
                best, most = length, rate
        return best

    def _learn(self, path: Sequence[int]) -> None:
        """Compare the last drafts, fed or not, with what came in their place."""
        for source, start, tokens in self._open:
            came = path[start : start + len(tokens)]
            right = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(tokens, came, strict=False)))
            self._trusted(source).learn(right, int(right < len(came)))
        self._open = []

    def _trusted(self, source: Source) -> _Trust:
        return self._trust.setdefault(source, _Trust())


def _spelled(tokens: Sequence[int]) -> str:
    """Tokens as characters, for the fast search of strings. The line break, which parts passages, is no token's."""
    return "".join(chr(token + 11) for token in tokens)


def _tokens(text: str) -> list[int]:
    return [ord(character) - 11 for character in text[:LONGEST]]
