"""Drafts: tokens that probably come next, which a model verifies in one forward pass instead of one pass per token.

Sources of a draft, in order:

1. the rest of the hint (the other model's text), while the answer follows it;
2. the text that followed the same last tokens before, in the prompt, in the answer, or in text that was dropped;
3. new text from the other model, if asking it is likely to pay.

A draft is as long as saves time, which depends on the machine (`timing.py`) and on how often this source was right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from time import perf_counter
from typing import Literal, NamedTuple, TypeAlias

from nudging.models.decoding.timing import PassTimer

LONGEST = 32
"""Maximum length of a draft, in tokens."""

CONTEXTS = (4, 3, 2, 1)
"""Numbers of last tokens that must match for an earlier passage to be drafted again. Longer matches go first."""

KEPT = 4096
"""Number of dropped tokens that are remembered."""

Source: TypeAlias = tuple[Literal["other", "again"], int]
"""The source of a draft: the other model, or an earlier passage with its number of matching tokens."""

Propose: TypeAlias = Callable[[Sequence[int], int], list[int]]
"""(path, n) -> what the other model would write next, `n` of its own tokens, in this model's tokens."""


class Draft(NamedTuple):
    source: Source
    start: int
    tokens: list[int]


@dataclass
class _HitRate:
    """The share of a source's tokens that were right. Recent tokens count more."""

    right: float = 1.0
    total: float = 2.0

    @property
    def share(self) -> float:
        return self.right / self.total

    def update(self, right: int, wrong: int) -> None:
        for outcome in [1] * right + [0] * wrong:
            self.right, self.total = 0.95 * self.right + outcome, 0.95 * self.total + 1


class Drafts:
    """The drafts of one session.

    Args:
        timer: The cost of this model's forward passes.
        context_length: The length of the model's context, in tokens.
    """

    def __init__(self, timer: PassTimer, context_length: int) -> None:
        self._timer, self._context_length = timer, context_length
        self._hit_rates: dict[Source, _HitRate] = {}
        self._hint: list[int] = []
        self._hint_start = 0
        self._propose: Propose | None = None
        self._seconds_per_token: float | None = None  # of the other model, None until it was asked
        self._unchecked: list[Draft] = []  # not yet compared with the answer
        self._dropped = ""

    def set_hint(self, start: int, hint: Sequence[int], propose: Propose | None) -> None:
        """Set what the other model wrote after the first `start` tokens, and how to ask it for more."""
        self._hint, self._hint_start, self._propose = list(hint), start, propose

    def remember(self, tokens: Sequence[int]) -> None:
        """Remember tokens that are about to be dropped: they often come again."""
        self._dropped = (self._dropped + _to_text(tokens) + "\n")[-KEPT:]

    def after(self, path: Sequence[int], new: int, limit: int) -> list[int]:
        """Return the draft that is worth feeding after the path.

        Args:
            path: The tokens so far.
            new: The number of tokens at the end of the path that are not in the cache and have to be fed anyway.
            limit: The maximum length of the draft.
        """
        self._update_hit_rates(path)
        limit = min(limit, LONGEST, self._context_length - len(path))
        found = self._from_hint(path) or self._from_earlier(path)
        self._unchecked = [found] if found else []
        if found:
            return found.tokens[: self._best_length(found.source, min(limit, len(found.tokens)), new)]
        return self._from_other_model(path, new, limit)

    def _from_hint(self, path: Sequence[int]) -> Draft | None:
        """Return the rest of the hint, if the path has followed it so far."""
        followed = len(path) - self._hint_start
        if followed < 0 or list(path[self._hint_start :]) != self._hint[:followed]:
            return None
        rest = self._hint[followed:]
        return Draft(("other", 0), len(path), rest) if rest else None

    def _from_earlier(self, path: Sequence[int]) -> Draft | None:
        """Return what followed the path's last tokens earlier, in the path or in dropped text."""
        text = _to_text(path)
        for length in CONTEXTS:
            end = text[-length:]
            if length > 1 and (at := text.rfind(end, 0, -1)) >= 0:
                return Draft(("again", length), len(path), _to_tokens(text[at + length :]))
            if (at := self._dropped.rfind(end)) >= 0 and (rest := self._dropped[at + length :].partition("\n")[0]):
                return Draft(("again", length), len(path), _to_tokens(rest))
        return None

    def _from_other_model(self, path: Sequence[int], new: int, limit: int) -> list[int]:
        """Return what the other model writes when it is asked, if asking is likely to pay."""
        if not self._propose:
            return []
        seconds = self._timer.cost(1) / 2 if self._seconds_per_token is None else self._seconds_per_token
        length = self._best_length(("other", 0), limit, new, seconds)
        if not length:
            return []
        started = perf_counter()
        tokens = self._propose(path, length)[:limit]
        self._seconds_per_token = (perf_counter() - started) / length
        self._unchecked = [Draft(("other", 0), len(path), tokens)]
        return tokens

    def _best_length(self, source: Source, limit: int, new: int, seconds: float = 0.0) -> int:
        """Return the draft length with the highest expected tokens per second.

        With a share p of right tokens, a draft of k tokens brings 1 + p + p² + … + p^k tokens on average.

        Args:
            source: The source of the draft.
            limit: The maximum length.
            new: The number of tokens that are fed anyway.
            seconds: The time to write a draft token.
        """
        share = self._hit_rate(source).share
        best, highest = 0, 1 / self._timer.cost(new)
        expected, right = 1.0, 1.0
        for length in range(1, limit + 1):
            right *= share
            expected += right
            rate = expected / (self._timer.cost(new + length) + length * seconds)
            if rate > highest:
                best, highest = length, rate
        return best

    def _update_hit_rates(self, path: Sequence[int]) -> None:
        """Compare the last draft, whether it was fed or not, with the tokens that came in its place."""
        for source, start, tokens in self._unchecked:
            came = path[start : start + len(tokens)]
            right = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(tokens, came, strict=False)))
            self._hit_rate(source).update(right, int(right < len(came)))
        self._unchecked = []

    def _hit_rate(self, source: Source) -> _HitRate:
        return self._hit_rates.setdefault(source, _HitRate())


# Tokens as characters, because searching in strings is fast. Token 0 is character 11: "\n" (10) separates passages.


def _to_text(tokens: Sequence[int]) -> str:
    return "".join(chr(token + 11) for token in tokens)


def _to_tokens(text: str) -> list[int]:
    return [ord(character) - 11 for character in text[:LONGEST]]
