"""The nudging rule as a state machine: pure Python, no model, no I/O, no clock.

`nudge` is a generator, like httpx's auth flow. It yields an action and is sent the result:

=========================  ==================================================================  ====================
it yields                  meaning                                                             it is sent
=========================  ==================================================================  ====================
`Ask(author, text)`        start this model after the answer `text`                            its first step
`More()`                   continue the model that was asked last                              its next step
`Prefetch(text, limit)`    the base model will probably be asked after this text soon          nothing
`Fit(text, limit)`         how much of this text fits into `limit` base-model tokens?          a `FittedText`
`Complete(text, limit)`    how is this start of an answer completed within `limit` tokens?     `FittedText` or None
`Piece`                    this text is final, and this model wrote it                         nothing
=========================  ==================================================================  ====================

A step is None when the model has no more: its context is full, or it has given as many as were asked for. The generator
returns the reason why the answer ended. The drivers in `stream.py` run it against two models.

Source: Fei et al., arXiv 2410.09300, section 3, and the authors' program. `docs/rule.md` describes it in words.
"""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from nudging.answer import Author, FinishReason, Piece
from nudging.step import FittedText, Step

CHUNK = 16
"""Length of a base-model chunk, in tokens, counted from the handover. The loop guards look at whole chunks."""

LONG_CHUNK = 5
"""A chunk of more words than this is a loop if the answer already contains it."""

SAME_WORDS = 3
"""The answer ends as a loop when the nudging words equal those of the previous round this many times in a row."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Start a model after the answer `text`, for at most `limit` steps. `hint` is text that probably comes next."""

    author: Author
    text: str
    limit: int
    hint: str = ""


@dataclass(frozen=True, slots=True)
class More:
    """Take the next step of the model that was asked last."""


@dataclass(frozen=True, slots=True)
class Prefetch:
    """The base model will be asked after the answer `text` for `limit` steps, unless the proposal ends the answer."""

    text: str
    limit: int


@dataclass(frozen=True, slots=True)
class Fit:
    """Ask how much of `text` fits into `limit` base-model tokens."""

    text: str
    limit: int


@dataclass(frozen=True, slots=True)
class Complete:
    """Ask for a text of at most `limit` base-model tokens that completes the answer `text` under its grammar."""

    text: str
    limit: int


Action: TypeAlias = Ask | More | Prefetch | Fit | Complete | Piece
Rule: TypeAlias = Generator[Action, Any, FinishReason]


def nudge(
    *, threshold: float, lookahead: int, max_tokens: int, stop: Sequence[str] = (), constrained: bool = False
) -> Rule:
    """Decide one answer, round by round.

    Args:
        threshold: The base model writes while its top-1 probability is at least this, in [0, 1] (the paper's γ).
        lookahead: Length of the nudging model's proposals, in its tokens.
        max_tokens: Maximum length of the answer, in base-model tokens.
        stop: Strings that end the answer. Neither they nor the text after them is part of it.
        constrained: True if the answer follows a grammar. Then text is only appended if the answer can still be
            completed within `max_tokens`, an answer that is cut short is completed, and `stop` is ignored.
    """
    answer = _UnfinishedAnswer(max_tokens, () if constrained else stop, constrained)
    try:
        yield from _rounds(answer, threshold, lookahead)
    except _Finished as finished:
        yield from answer.complete()
        yield from answer.release(len(answer.text))
        return finished.reason
    raise AssertionError("the rounds end with _Finished")


def _rounds(answer: "_UnfinishedAnswer", threshold: float, lookahead: int) -> Generator[Action, Any, None]:
    last_words, repeats = "", 0
    while True:
        proposal, ended = yield from _proposal(answer, lookahead)
        if ended:
            yield from answer.append_words(proposal)
            raise _Finished("stop")

        words, step = yield from _handover(answer, proposal, threshold)
        repeats = repeats + 1 if words == last_words else 0
        last_words = words
        if repeats == SAME_WORDS:
            raise _Finished("loop")
        yield from answer.append_words(words)
        answer.check_budget()

        if step is not None and not step.end:
            yield from _base_run(answer, step, threshold)
        answer.round += 1


def _proposal(answer: "_UnfinishedAnswer", lookahead: int) -> Generator[Action, Any, tuple[str, bool]]:
    """Return the nudging model's next `lookahead` tokens as text, and whether it ends its turn within them."""
    step: Step | None = yield Ask("nudging", answer.text, lookahead)
    if step is None:
        raise _Finished("length")  # its context is full
    proposal = ""
    prefetched = False
    while step is not None:
        proposal += step.text
        if step.end:
            return proposal, True
        first = None if prefetched else next(_boundaries(proposal), None)
        if first:
            prefetched = True
            yield Prefetch(answer.text + first[0], CHUNK)
        step = yield More()
    return proposal, False


def _boundaries(proposal: str) -> Iterator[tuple[str, str]]:
    """Yield the text before each word of a proposal, and the word. The first word is skipped."""
    words = proposal.lstrip(" ").split(" ")
    spaces = " " * (len(proposal) - len(proposal.lstrip(" ")))
    for boundary in range(1, len(words)):
        if words[boundary]:  # two spaces in a row make an empty word
            yield spaces + " ".join(words[:boundary]), words[boundary]


def _handover(
    answer: "_UnfinishedAnswer", proposal: str, threshold: float
) -> Generator[Action, Any, tuple[str, Step | None]]:
    """Return the words before the first boundary where the base model takes over, and its token there.

    Example: for the proposal " To stay healthy", a base model that is sure of "▁healthy" gives (" To stay", that step).
    """
    for before, word in _boundaries(proposal):
        step: Step | None = yield Ask("base", answer.text + before, CHUNK, hint=proposal[len(before) :])
        if step is None:
            yield from answer.append_words(before)
            raise _Finished("length")  # its context is full
        if step.probability >= threshold or f" {word}".startswith(step.text):
            return before, step
    one_word = " " not in proposal.lstrip(" ")
    return proposal if one_word else proposal.rpartition(" ")[0], None  # the window may have cut off the last word


def _base_run(answer: "_UnfinishedAnswer", step: Step, threshold: float) -> Generator[Action, Any, None]:
    """Append the base model's tokens from `step` on, chunk by chunk, while it is sure and does not loop."""
    start = len(answer.text)
    yield from answer.append_steps([step])
    next_step: Step | None = yield More()
    while (yield from _chunk(answer, answer.text[start:], next_step, threshold)):
        next_step = yield Ask("base", answer.text, CHUNK)


def _chunk(answer: "_UnfinishedAnswer", run: str, step: Step | None, threshold: float) -> Generator[Action, Any, bool]:
    """Append the part of one chunk that the base model is sure of. Return True if the run continues after it.

    A chunk that loops must leave nothing behind. So its tokens wait in `held` until no loop guard can apply to it any
    more. Both guards need the accepted part to be in the answer already, and a text that is not in it with a few
    tokens is not in it with more. This is known after a token or two, and the answer keeps streaming.
    """
    before = answer.text
    whole = accepted = ""  # the chunk's text: everything seen of it, and the part above the threshold
    held: list[Step] = []
    sure = True
    while step is not None and not step.end:
        whole += step.text
        sure = sure and step.probability >= threshold
        if sure:
            accepted += step.text
            held.append(step)
            if accepted not in before:
                yield from answer.append_steps(held)
                held = []
        elif accepted not in before or not accepted or whole not in run:
            break
        step = yield More()
    if accepted in before:
        if whole in run or len(accepted.split(" ")) > LONG_CHUNK:
            return False
        yield from answer.append_steps(held)
    return sure and step is None


def find_stop(text: str, stop: Sequence[str], start: int = 0) -> int | None:
    """Return where the first stop string begins in `text`, looking from character `start` on, or None."""
    return min((at for string in stop if (at := text.find(string, start)) >= 0), default=None)


class _Finished(Exception):
    """The answer has ended."""

    def __init__(self, reason: FinishReason) -> None:
        self.reason = reason


class _UnfinishedAnswer:
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
            raise _Finished("length")

    def append_steps(self, steps: Sequence[Step]) -> Generator[Action, Any, None]:
        """Append the base model's tokens, one piece for each."""
        for step in steps:
            self._unspent += 1
            if self._unspent > self._tokens_left:
                raise _Finished("length")
            if step.text:
                if not (yield from self._can_complete(step.text, self._unspent)):
                    raise _Finished("length")
                yield from self._append(step.text, "base", self._unspent)
                self._unspent = 0
                self.check_budget()

    def check_budget(self) -> None:
        """End the answer if its budget is used up."""
        if self._tokens_left == 0:
            raise _Finished("length")

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
            raise _Finished("stop")
        yield from self.release(len(self.text) - self._held_back())

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

    def _held_back(self) -> int:
        """Return the length of the end of the text that may be the start of a stop string."""
        starts = (n for string in self._stop for n in range(1, len(string)) if self.text.endswith(string[:n]))
        return max(starts, default=0)
