"""Drafts: their sources and their lengths."""

from collections.abc import Sequence

import pytest
from nudging.models.decoding.drafts import LONGEST, Drafts
from nudging.models.decoding.timing import PassTimer

CONTEXT = 1000


def timer_of(passes: dict[int, float]) -> PassTimer:
    """Return a timer that has recorded one pass per number of tokens, with its seconds."""
    timer = PassTimer()
    for tokens, seconds in passes.items():
        timer.record(tokens, seconds)
    return timer


FLAT = timer_of({1: 1.0, 64: 1.0})
"""A machine on which sixteen tokens cost as much as one."""

STEEP = timer_of({1: 1.0, 2: 2.5, 4: 5.0, 8: 10.0, 16: 20.0, 32: 40.0})
"""A machine on which every token costs more than one alone."""


def test_the_rest_of_the_hint_is_the_draft_while_the_answer_follows_it() -> None:
    drafts = Drafts(FLAT, CONTEXT)
    drafts.set_hint(2, [7, 8, 9], None)
    assert drafts.after([1, 2], 1, 20) == [7, 8, 9]
    assert drafts.after([1, 2, 7, 8], 1, 20) == [9]
    assert drafts.after([1, 2, 7, 3], 1, 20) == []
    assert drafts.after([1, 2, 7, 8, 9], 1, 20) == []


def test_without_a_hint_the_text_after_an_earlier_match_is_the_draft() -> None:
    drafts = Drafts(FLAT, CONTEXT)
    assert drafts.after([5, 6, 7, 8, 9, 1, 5, 6], 1, 20)[:3] == [7, 8, 9]


def test_a_longer_match_goes_first_and_among_equal_ones_the_last() -> None:
    drafts = Drafts(FLAT, CONTEXT)
    assert drafts.after([1, 2, 3, 40, 2, 3, 50, 2, 3, 60, 1, 2, 3], 1, 1) == [40]
    assert drafts.after([2, 3, 50, 2, 3, 60, 2, 3], 1, 1) == [60]


def test_dropped_text_is_drafted_when_its_tokens_come_again() -> None:
    drafts = Drafts(FLAT, CONTEXT)
    drafts.remember([30, 31, 32, 33])
    assert drafts.after([1, 2, 31], 1, 20) == [32, 33]
    assert drafts.after([1, 2, 33], 1, 20) == []


@pytest.mark.parametrize(("timer", "is_fed"), [(FLAT, True), (STEEP, False)])
def test_a_draft_is_fed_only_on_a_machine_that_gains_from_it(timer: PassTimer, is_fed: bool) -> None:
    drafts = Drafts(timer, CONTEXT)
    drafts.set_hint(1, list(range(10, 26)), None)
    assert bool(drafts.after([1], 1, 20)) is is_fed


def test_a_source_is_used_while_its_drafts_are_mostly_right() -> None:
    drafts = Drafts(timer_of({1: 1.0, 2: 1.3, 16: 1.4}), CONTEXT)

    def length_after(outcomes: Sequence[int]) -> int:
        length = -1
        for position, outcome in enumerate(outcomes):
            start = 10 * position
            path = list(range(start + 1))
            drafts.set_hint(len(path), [500, 501], None)
            length = len(drafts.after(path, 1, 20))
            drafts.after([*path, outcome], 1, 20)
        return length

    assert length_after([500] * 4) > 0
    assert length_after([600] * 40) == 0
    assert length_after([500] * 40) > 0  # drafts are compared with the answer even when they are not fed


def test_the_other_model_is_asked_again_only_if_that_saves_time() -> None:
    asked = []

    def propose(path: Sequence[int], length: int) -> list[int]:
        asked.append(length)
        return [7] * length

    drafts = Drafts(timer_of({1: 1e-9, 64: 1e-9}), CONTEXT)
    for end in range(2, 12):  # its text was right so far
        drafts.set_hint(end, [9], propose)
        drafts.after([9] * end, 1, 20)
    drafts.set_hint(12, [], propose)
    assert drafts.after([*range(20, 31), 9], 1, 20) == [7] * asked[0]  # taken to be cheap until it was measured
    drafts.set_hint(13, [], propose)
    assert drafts.after([*range(20, 31), 9, 7], 1, 20) == []  # it takes longer than a pass of this model
    assert len(asked) == 1


def test_a_draft_is_no_longer_than_the_limit_the_context_and_the_maximum() -> None:
    drafts = Drafts(FLAT, 6)
    drafts.set_hint(1, list(range(10, 60)), None)
    assert len(drafts.after([1], 1, 3)) == 3
    assert len(drafts.after([1], 1, 50)) == 5
    long_context = Drafts(FLAT, CONTEXT)
    long_context.set_hint(1, list(range(10, 60)), None)
    assert len(long_context.after([1], 1, 50)) == LONGEST
