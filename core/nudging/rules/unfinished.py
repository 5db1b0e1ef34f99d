"""The answer that a rule is writing: its text, its budget, its stop strings and its grammar."""

from collections import deque
from collections.abc import Generator, Sequence
from typing import Any

from nudging.answer import Author, FinishReason, Piece
from nudging.rules.actions import Action, Complete, Fit
from nudging.step import FittedText, Step


class Finished(Exception):
    """The answer has ended."""

    def __init__(self, reason: FinishReason) -> None:
        self.reason = reason


class UnfinishedAnswer:
    """An unfinished answer: its text, its budget and its stop strings.

    A piece is released once no stop string can begin in it, so `text` is ahead of the released pieces.
    """

    def __init__(self, max_tokens: int, stop: Sequence[str], constrained: bool) -> None:
        self.text = ""
        self.round = 0
        self._constrained = constrained
        self._completion: FittedText | None = None  # completes `text` under its grammar
        self._tokens_left = max_tokens
        self._unspent = 0  # tokens of a character that is not complete yet
        self._stop = stop
        self._longest_stop = max(map(len, stop), default=0)
        self._pending: deque[Piece] = deque()
        self._released = 0  # characters

    def append_words(self, words: str) -> Generator[Action, Any, None]:
        """Append the nudging model's words, as many as the budget allows."""
        fitted: FittedText = yield Fit(words, self._tokens_left)
        while fitted.text and not (yield from self._can_complete(fitted.text, fitted.tokens)):
            one_word_less = fitted.text.rstrip(" ").rpartition(" ")[0]
            fitted = yield Fit(one_word_less, self._tokens_left)
        self._unspent = 0
        yield from self._append(fitted.text, "nudging", fitted.tokens)
        if fitted.text != words:
            raise Finished("length")

    def append_steps(self, steps: Sequence[Step]) -> Generator[Action, Any, None]:
        """Append the base model's tokens, one piece for each."""
        for step in steps:
            self._unspent += 1
            if self._unspent > self._tokens_left:
                raise Finished("length")
            if step.text:
                if not (yield from self._can_complete(step.text, self._unspent)):
                    raise Finished("length")
                yield from self._append(step.text, "base", self._unspent)
                self._unspent = 0
                self.check_budget()

    def check_budget(self) -> None:
        """End the answer if its budget is used up."""
        if self._tokens_left == 0:
            raise Finished("length")

    def complete(self) -> Generator[Action, Any, None]:
        """Append the text that the grammar still needs. All text so far left room for it."""
        if self._constrained:
            completion: FittedText = self._completion or (yield Complete(self.text, self._tokens_left))
            yield from self._append(completion.text, "nudging", completion.tokens)

    def release(self, end: int) -> Generator[Action, Any, None]:
        """Yield the pieces that end at or before character `end`."""
        while self._pending and self._released + len(self._pending[0].text) <= end:
            piece = self._pending.popleft()
            self._released += len(piece.text)
            yield piece

    def _can_complete(self, text: str, tokens: int) -> Generator[Action, Any, bool]:
        """Return True if the answer can still be completed after `text`."""
        if not self._constrained:
            return True
        completion: FittedText | None = yield Complete(self.text + text, self._tokens_left - tokens)
        self._completion = completion or self._completion
        return completion is not None

    def _append(self, text: str, author: Author, tokens: int) -> Generator[Action, Any, None]:
        if not text:
            return
        unsearched = max(0, len(self.text) - self._longest_stop + 1)
        self.text += text
        self._tokens_left -= tokens
        self._pending.append(Piece(text, author, tokens, self.round))
        found = find_stop(self.text, self._stop, unsearched)
        if found is not None:
            yield from self._cut(found)
            raise Finished("stop")
        yield from self.release(stop_start(self.text, self._stop))

    def _cut(self, end: int) -> Generator[Action, Any, None]:
        """Remove the text from character `end` on. None of it has been released."""
        excess = len(self.text) - end
        self.text = self.text[:end]
        while excess:
            piece = self._pending.pop()
            if len(piece.text) > excess:
                fitted: FittedText = yield Fit(piece.text[:-excess], piece.tokens)
                self._pending.append(Piece(piece.text[:-excess], piece.author, fitted.tokens, piece.round))
            excess = max(0, excess - len(piece.text))


def find_stop(text: str, stop: Sequence[str], start: int = 0) -> int | None:
    """Return where the first stop string begins in `text`, looking from character `start` on, or None."""
    return min((at for string in stop if (at := text.find(string, start)) >= 0), default=None)


def stop_start(text: str, stop: Sequence[str]) -> int:
    """Return where the longest end of `text` begins that may be the start of a stop string; else its length."""
    starts = (n for string in stop for n in range(1, len(string)) if text.endswith(string[:n]))
    return len(text) - max(starts, default=0)
