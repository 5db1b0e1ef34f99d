"""The nudging rule as a state machine: pure Python, no model, no I/O, no clock.

`nudge` is a generator, in the manner of httpx's auth flow. It yields what it needs and is sent the answer:

====================  ==================================================================  ==============
it yields             meaning                                                             it is sent
====================  ==================================================================  ==============
`Ask(author, text)`   which steps does this model take after the answer so far?           the first step
`More()`              the next step of the model asked last                               a step
`Expect(text)`        the base model may be asked after this text before long             nothing
`Fit(text, limit)`    how much of this text fits into so many base-model tokens?          a `Fitted`
`Close(text, limit)`  what completes this beginning in so many base-model tokens?         `Fitted` or None
`Piece`               this text is settled, and this model wrote it                       nothing
====================  ==================================================================  ==============

A step is `None` when the model has none left: its context is full, or it gave as many as were asked for. The
generator returns why the answer ended. The drivers in `decoding` run it against two models.

Source: Fei et al., arXiv 2410.09300, section 3, and the program its authors released. `docs/rule.md` has it in words.
"""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from nudging.answer import Author, FinishReason, Piece

CHUNK = 16
"""The base model's tokens come in chunks of so many, counted from the handover; the loop guards look at chunks."""

LONG_CHUNK = 5
"""A chunk of more words than this is a loop if it already stands in the answer."""

SAME_WORDS = 3
"""How many rounds running the nudging words may repeat those of the round before."""


@dataclass(frozen=True, slots=True)
class Step:
    """One token of a model.

    Args:
        text: What the token adds to the text. Empty for the end token, for special tokens, and for a token that leaves
            a character unfinished: the token that finishes it brings the whole character.
        probability: Of the model's top token at this position, in [0, 1], before temperature.
        end: Whether this token ends the model's turn.
    """

    text: str
    probability: float
    end: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """Which steps (at most `limit`) does the model take after the answer `text`? `hint` is what may well come next."""

    author: Author
    text: str
    limit: int
    hint: str = ""


@dataclass(frozen=True, slots=True)
class More:
    """The next step of the model that was asked last."""


@dataclass(frozen=True, slots=True)
class Expect:
    """The base model will be asked after the answer `text` for `limit` steps, unless the proposal ends the answer."""

    text: str
    limit: int


@dataclass(frozen=True, slots=True)
class Fit:
    """How much of `text` fits into `limit` base-model tokens?"""

    text: str
    limit: int


@dataclass(frozen=True, slots=True)
class Fitted:
    """The longest beginning of a text that fits, and its length in base-model tokens."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Close:
    """What completes the answer after `text`, as its grammar wants it, in at most `limit` base-model tokens?"""

    text: str
    limit: int


Request: TypeAlias = Ask | More | Expect | Fit | Close | Piece
Rule: TypeAlias = Generator[Request, Any, FinishReason]


def nudge(
    *, threshold: float, lookahead: int, max_tokens: int, stop: Sequence[str] = (), constrained: bool = False
) -> Rule:
    """One answer, round by round.

    Args:
        threshold: The base model keeps the pen while its top-1 probability is at least this (the paper's gamma).
        lookahead: Length of the nudging model's proposals, in its tokens.
        max_tokens: Length of the answer at most, in base-model tokens.
        stop: Strings that end the answer; neither they nor what follows is part of it.
        constrained: Whether a grammar holds the answer. Then nothing is written that could not be completed within the
            budget, an answer that is cut short is completed, and stop strings are not looked for.
    """
    draft = _Draft(max_tokens, () if constrained else stop, constrained)
    try:
        yield from _rounds(draft, threshold, lookahead)
    except _Finished as finished:
        yield from draft.close()
        yield from draft.release(len(draft.text))
        return finished.reason
    raise AssertionError("the rounds end with _Finished")


def _rounds(draft: "_Draft", threshold: float, lookahead: int) -> Generator[Request, Any, None]:
    last_words, repeats = "", 0
    while True:
        proposal, ended = yield from _proposal(draft, lookahead)
        if ended:
            yield from draft.append_words(proposal)
            raise _Finished("stop")

        words, step = yield from _handover(draft, proposal, threshold)
        repeats = repeats + 1 if words == last_words else 0
        last_words = words
        if repeats == SAME_WORDS:
            raise _Finished("loop")
        yield from draft.append_words(words)
        draft.check_budget()

        if step is not None and not step.end:
            yield from _base_run(draft, step, threshold)
        draft.round += 1


def _proposal(draft: "_Draft", lookahead: int) -> Generator[Request, Any, tuple[str, bool]]:
    """What the nudging model would write next, and whether it ends its turn there."""
    step: Step | None = yield Ask("nudging", draft.text, lookahead)
    if step is None:
        raise _Finished("length")  # its context is full
    proposal = ""
    expected = False
    while step is not None:
        proposal += step.text
        if step.end:
            return proposal, True
        first = None if expected else next(_boundaries(proposal), None)
        if first:
            expected = True
            yield Expect(draft.text + first[0], CHUNK)
        step = yield More()
    return proposal, False


def _boundaries(proposal: str) -> Iterator[tuple[str, str]]:
    """Where words begin, but for the first: the text before, and the word."""
    words = proposal.lstrip(" ").split(" ")
    spaces = " " * (len(proposal) - len(proposal.lstrip(" ")))
    for boundary in range(1, len(words)):
        if words[boundary]:  # else two spaces in a row
            yield spaces + " ".join(words[:boundary]), words[boundary]


def _handover(draft: "_Draft", proposal: str, threshold: float) -> Generator[Request, Any, tuple[str, Step | None]]:
    """The words before the first boundary where the base model takes over, and the token it takes over with."""
    for before, word in _boundaries(proposal):
        step: Step | None = yield Ask("base", draft.text + before, CHUNK, hint=proposal[len(before) :])
        if step is None:
            yield from draft.append_words(before)
            raise _Finished("length")  # its context is full
        if step.probability >= threshold or f" {word}".startswith(step.text):
            return before, step
    one_word = " " not in proposal.lstrip(" ")
    return proposal if one_word else proposal.rpartition(" ")[0], None  # the window may cut off the last of several


def _base_run(draft: "_Draft", step: Step, threshold: float) -> Generator[Request, Any, None]:
    """The base model's tokens from the one that took over, chunk by chunk, while it is sure and does not loop."""
    start = len(draft.text)
    yield from draft.append_steps([step])
    next_step: Step | None = yield More()
    while (yield from _chunk(draft, draft.text[start:], next_step, threshold)):
        next_step = yield Ask("base", draft.text, CHUNK)


def _chunk(draft: "_Draft", run: str, step: Step | None, threshold: float) -> Generator[Request, Any, bool]:
    """Append the part of one chunk that the base model is sure of; whether the run goes on after it.

    A chunk that loops is to leave nothing behind, so its tokens wait in `held` until it is certain that neither guard
    can apply to it: both need that the accepted part already stands in the answer, and what is not there with a few
    tokens is not there with more. That is known after a token or two, and the answer streams on.
    """
    before = draft.text
    whole = accepted = ""  # the chunk's text: all that was seen of it, and the part above the threshold
    held: list[Step] = []
    sure = True
    while step is not None and not step.end:
        whole += step.text
        sure = sure and step.probability >= threshold
        if sure:
            accepted += step.text
            held.append(step)
            if accepted not in before:
                yield from draft.append_steps(held)
                held = []
        elif accepted not in before or not accepted or whole not in run:
            break
        step = yield More()
    if accepted in before:
        if whole in run or len(accepted.split(" ")) > LONG_CHUNK:
            return False
        yield from draft.append_steps(held)
    return sure and step is None


class _Finished(Exception):
    """The answer is complete."""

    def __init__(self, reason: FinishReason) -> None:
        self.reason = reason


class _Draft:
    """The answer so far: its text, its budget and its stop strings.

    Pieces are released once no stop string can begin in them; `text` runs ahead of what is released.
    """

    def __init__(self, max_tokens: int, stop: Sequence[str], constrained: bool) -> None:
        self.text = ""
        self.round = 0
        self._constrained = constrained
        self._closing: Fitted | None = None  # what completes the text as it is
        self._tokens_left = max_tokens
        self._unspent = 0  # tokens of a character that is not complete yet
        self._stop = stop
        self._longest_stop = max(map(len, stop), default=0)
        self._pending: deque[Piece] = deque()
        self._released = 0  # characters

    def append_words(self, words: str) -> Generator[Request, Any, None]:
        """The nudging model's words, as many as the budget allows."""
        fitted: Fitted = yield Fit(words, self._tokens_left)
        while fitted.text and not (yield from self._can_close(fitted.text, fitted.tokens)):
            a_word_less = fitted.text.rstrip(" ").rpartition(" ")[0]
            fitted = yield Fit(a_word_less, self._tokens_left)
        self._unspent = 0
        yield from self._append(fitted.text, "nudging", fitted.tokens)
        if fitted.text != words:
            raise _Finished("length")

    def append_steps(self, steps: Sequence[Step]) -> Generator[Request, Any, None]:
        """The base model's tokens, each a piece of its own."""
        for step in steps:
            self._unspent += 1
            if self._unspent > self._tokens_left:
                raise _Finished("length")
            if step.text:
                if not (yield from self._can_close(step.text, self._unspent)):
                    raise _Finished("length")
                yield from self._append(step.text, "base", self._unspent)
                self._unspent = 0
                self.check_budget()

    def check_budget(self) -> None:
        if self._tokens_left == 0:
            raise _Finished("length")

    def close(self) -> Generator[Request, Any, None]:
        """Complete what the grammar leaves open. Nothing was appended that would not leave room for it."""
        if self._constrained:
            closing: Fitted = self._closing or (yield Close(self.text, self._tokens_left))
            yield from self._append(closing.text, "nudging", closing.tokens)

    def release(self, end: int) -> Generator[Request, Any, None]:
        """Yield the pieces that lie before character `end`."""
        while self._pending and self._released + len(self._pending[0].text) <= end:
            piece = self._pending.popleft()
            self._released += len(piece.text)
            yield piece

    def _can_close(self, text: str, tokens: int) -> Generator[Request, Any, bool]:
        """Whether the answer could still be completed after this text."""
        if not self._constrained:
            return True
        closing: Fitted | None = yield Close(self.text + text, self._tokens_left - tokens)
        self._closing = closing or self._closing
        return closing is not None

    def _append(self, text: str, author: Author, tokens: int) -> Generator[Request, Any, None]:
        if not text:
            return
        unsearched = max(0, len(self.text) - self._longest_stop + 1)
        self.text += text
        self._tokens_left -= tokens
        self._pending.append(Piece(text, author, tokens, self.round))
        found = [at for string in self._stop if (at := self.text.find(string, unsearched)) >= 0]
        if found:
            yield from self._cut(min(found))
            raise _Finished("stop")
        yield from self.release(len(self.text) - self._held_back())

    def _cut(self, end: int) -> Generator[Request, Any, None]:
        """Drop what stands after character `end`; none of it has been released."""
        excess = len(self.text) - end
        self.text = self.text[:end]
        while excess:
            piece = self._pending.pop()
            if len(piece.text) > excess:
                fitted: Fitted = yield Fit(piece.text[:-excess], piece.tokens)
                self._pending.append(Piece(piece.text[:-excess], piece.author, fitted.tokens, piece.round))
            excess = max(0, excess - len(piece.text))

    def _held_back(self) -> int:
        """Length of the text's end that may be the beginning of a stop string."""
        starts = (n for string in self._stop for n in range(1, len(string)) if self.text.endswith(string[:n]))
        return max(starts, default=0)
