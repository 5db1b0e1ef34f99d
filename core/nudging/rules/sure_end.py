"""The sure end: an answer ends where the nudging model is sure that it is done, however sure the base model is.

A base model is often sure of its next token long after the question is answered. The rules ask the nudging model only
where the base model is unsure, so they notice the end late or never. With a sure end the nudging model is also asked
before each word and punctuation mark that the base model is about to write.
"""

from collections import deque
from collections.abc import Generator, Sequence
from itertools import pairwise
from typing import Any

from nudging.rules.actions import Action, Check, More
from nudging.step import Step

AHEAD = 4
"""The base model's tokens are read this far ahead, so that the nudging model checks them in one forward pass."""

DONE = Step("", 1.0, end=True)
"""Stands where the nudging model is sure that the answer is done."""


def is_sure_end(step: Step, end: float) -> bool:
    """Return True if this step of the nudging model ends its turn with a probability of at least `end`, above 0."""
    return end > 0 and step.end and step.own_probability >= end


def is_within_word(before: str, after: str) -> bool:
    """Return True if the place between two texts is inside a word or number."""
    return before[-1:].isalnum() and after[:1].isalnum()


class CheckedSteps:
    """The base model's steps, with `DONE` in place of the first one after a sure end.

    Args:
        first: The action that brings the first step.
        threshold: The base model is sure of steps with at least this probability. Steps after one that it is not sure
            of are not checked.
        end: The probability of a sure end. At 0 nothing is checked, and nothing is read ahead.
    """

    def __init__(self, first: Action, threshold: float, end: float) -> None:
        self._action, self._threshold, self._end = first, threshold, end
        self._read: deque[Step | None] = deque()

    def next(self, text: str) -> Generator[Action, Any, Step | None]:
        """Return the next step after the answer `text`, or None after the last one."""
        if not self._read:
            steps = yield from self._read_ahead()
            done = (yield from _sure_end(text, steps, self._end)) if self._end else None
            self._read.extend(steps if done is None else [*steps[:done], DONE])
            if not self._is_sure(steps[-1]):
                self._end = 0  # the steps after it are not appended
        return self._read.popleft()

    def _read_ahead(self) -> Generator[Action, Any, list[Step | None]]:
        steps: list[Step | None] = []
        while len(steps) < (AHEAD if self._end else 1):
            step: Step | None = yield self._action
            self._action = More()
            steps.append(step)
            if not self._is_sure(step):
                break
        return steps

    def _is_sure(self, step: Step | None) -> bool:
        return step is not None and not step.end and step.probability >= self._threshold


def _sure_end(text: str, steps: Sequence[Step | None], end: float) -> Generator[Action, Any, int | None]:
    """Return the number of steps before the sure end, or None if there is none before the last of them."""
    run, places, first = "", list[tuple[int, int]](), 0  # places: number of steps, number of characters before it
    for number, step in enumerate(steps):
        if step is not None and step.text:
            if not is_within_word(text + run, step.text):
                places.append((first, len(run)))
            run, first = run + step.text, number + 1
    if not places:
        return None
    cuts = [at for _, at in places]
    pieces = tuple(run[start:stop] for start, stop in pairwise(cuts))
    own: list[Step] = yield Check(text + run[: cuts[0]], pieces)
    return next((number for (number, _), step in zip(places, own, strict=False) if is_sure_end(step, end)), None)
