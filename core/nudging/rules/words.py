"""The rule of the paper, word by word, as the authors' program has it.

Source: Fei et al., arXiv 2410.09300, section 3, and the authors' program.
"""

from collections.abc import Generator, Iterator
from typing import Any

from nudging.rules.actions import Action, Ask, More, Prefetch
from nudging.rules.sure_end import DONE, CheckedSteps
from nudging.rules.unfinished import Finished, UnfinishedAnswer
from nudging.settings import Settings
from nudging.step import Step

CHUNK = 16
"""Length of a base-model chunk, in tokens, counted from the handover. The loop guards look at whole chunks."""

LONG_CHUNK = 5
"""A chunk of more words than this is a loop if the answer already contains it."""

SAME_WORDS = 3
"""The answer ends as a loop when the nudging words equal those of the previous round this many times in a row."""


def rounds(answer: UnfinishedAnswer, settings: Settings) -> Generator[Action, Any, None]:
    """Write the answer round by round: some nudging words, and the base model's run after them."""
    last_words, repeats = "", 0
    while True:
        proposal, ended = yield from _proposal(answer, settings)
        if ended:
            yield from answer.append_words(proposal)
            raise Finished("stop")

        words, step = yield from _handover(answer, proposal, settings.threshold)
        repeats = repeats + 1 if words == last_words else 0
        last_words = words
        if repeats == SAME_WORDS:
            raise Finished("loop")
        yield from answer.append_words(words)
        answer.check_budget()

        if step is not None and not step.end:
            yield from _base_run(answer, step, settings.threshold, settings.end)
        answer.round += 1


def _proposal(answer: UnfinishedAnswer, settings: Settings) -> Generator[Action, Any, tuple[str, bool]]:
    """Return the nudging model's next tokens as text, and True if it ends its turn within them."""
    step: Step | None = yield Ask("nudging", answer.text, settings.lookahead)
    if step is None:
        raise Finished("length")  # its context is full
    proposal = ""
    prefetched = False
    while step is not None:
        proposal += step.text
        if step.end:
            return proposal, True
        first = None if prefetched else next(_boundaries(proposal), None)
        if first:
            prefetched = True
            yield Prefetch(answer.text + first[0], CHUNK, settings.threshold)
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
    answer: UnfinishedAnswer, proposal: str, threshold: float
) -> Generator[Action, Any, tuple[str, Step | None]]:
    """Return the words before the first boundary where the base model takes over, and its token there.

    Example: for the proposal " To stay healthy", a base model that is sure of "▁healthy" gives (" To stay", that step).
    """
    for before, word in _boundaries(proposal):
        step: Step | None = yield Ask("base", answer.text + before, CHUNK, proposal[len(before) :], threshold)
        if step is None:
            yield from answer.append_words(before)
            raise Finished("length")  # its context is full
        if step.probability >= threshold or f" {word}".startswith(step.text):
            return before, step
    one_word = " " not in proposal.lstrip(" ")
    return proposal if one_word else proposal.rpartition(" ")[0], None  # the window may have cut off the last word


def _base_run(answer: UnfinishedAnswer, step: Step, threshold: float, end: float) -> Generator[Action, Any, None]:
    """Append the base model's tokens from `step` on, chunk by chunk, while it is sure and does not loop."""
    start = len(answer.text)
    yield from answer.append_steps([step])
    first: Action = More()
    while (yield from _chunk(answer, answer.text[start:], CheckedSteps(first, threshold, end), threshold)):
        first = Ask("base", answer.text, CHUNK, stop_below=threshold)


def _chunk(answer: UnfinishedAnswer, run: str, steps: CheckedSteps, threshold: float) -> Generator[Action, Any, bool]:
    """Append the part of one chunk that the base model is sure of. Return True if the run continues after it.

    A chunk that loops must leave nothing behind. So its tokens wait in `held` until no loop guard can apply to it any
    more. Both guards need the accepted part to be in the answer already, and a text that is not in it with a few
    tokens is not in it with more. This is known after a token or two, and the answer keeps streaming.
    """
    before = answer.text
    whole = accepted = ""  # the chunk's text: everything seen of it, and the part above the threshold
    held: list[Step] = []
    sure = True
    step = yield from steps.next(before)
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
        step = yield from steps.next(before + whole)
    if accepted in before:
        is_whole = step is not DONE  # the start of a chunk may well be a single full stop
        if (is_whole and whole in run) or len(accepted.split(" ")) > LONG_CHUNK:
            held = []
            sure = False
        yield from answer.append_steps(held)
    if step is DONE:
        raise Finished("stop")
    return sure and step is None
