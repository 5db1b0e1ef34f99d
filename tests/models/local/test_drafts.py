"""What is fed before it is chosen: where drafts come from, how long they are, and that they change nothing."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nudging.models.base import Sampling
from nudging.models.local.drafts import LONGEST, Drafts
from nudging.models.local.kv_cache import KVCache
from nudging.models.local.model import LocalModel
from nudging.models.local.speculative import SpeculativeDecoder
from nudging.models.local.timing import PassTimer

ROOM = 1000


def pace(**seconds: float) -> PassTimer:
    """A machine on which `_k` tokens take so many seconds."""
    machine = PassTimer()
    for tokens, taken in seconds.items():
        machine.record(int(tokens[1:]), taken)
    return machine


FLAT = pace(_1=1.0)
STEEP = pace(_1=1.0, _2=2.5, _4=5.0, _8=10.0, _16=20.0, _32=40.0)


@pytest.mark.parametrize(
    ("tokens", "seconds"), [(1, 1.0), (2, 1.0), (3, 4.0), (4, 4.0), (5, 4.0), (16, 9.0), (200, 9.0)]
)
def test_a_pass_of_a_size_not_tried_is_taken_for_as_cheap_as_the_next_smaller_one(tokens: int, seconds: float) -> None:
    assert pace(_1=1.0, _4=4.0, _16=9.0).cost(tokens) == seconds


def test_a_hiccup_does_not_change_what_a_pass_costs() -> None:
    machine = pace(_1=1.0)
    for seconds in (1.0, 30.0, 1.0):
        machine.record(1, seconds)
    assert machine.cost(1) == 1.0


def test_in_company_a_token_of_ones_own_costs_what_a_token_of_each_does() -> None:
    machine = pace(_1=1.0, _16=2.0, _256=9.0)
    for _ in range(50):
        machine.record(16, 2.0, sequences=16)
    assert machine.cost(1) == 2.0
    assert machine.cost(16) == 9.0


def test_a_machine_changes_its_pace() -> None:
    machine = pace(_1=1.0)
    for _ in range(5):
        machine.record(1, 2.0)
    assert machine.cost(1) == 2.0


def test_a_hint_is_the_draft_as_long_as_it_is_followed() -> None:
    drafts = Drafts(FLAT, ROOM)
    drafts.set_hint(2, [7, 8, 9], None)
    assert drafts.after([1, 2], 1, 20) == [7, 8, 9]
    assert drafts.after([1, 2, 7, 8], 1, 20) == [9]
    assert drafts.after([1, 2, 7, 3], 1, 20) == []
    assert drafts.after([1, 2, 7, 8, 9], 1, 20) == []


def test_what_followed_the_same_words_before_is_the_draft_where_there_is_no_hint() -> None:
    drafts = Drafts(FLAT, ROOM)
    assert drafts.after([5, 6, 7, 8, 9, 1, 5, 6], 1, 20)[:3] == [7, 8, 9]


def test_more_words_that_agree_tell_more_and_of_those_the_last_passage() -> None:
    drafts = Drafts(FLAT, ROOM)
    assert drafts.after([1, 2, 3, 40, 2, 3, 50, 2, 3, 60, 1, 2, 3], 1, 1) == [40]
    assert drafts.after([2, 3, 50, 2, 3, 60, 2, 3], 1, 1) == [60]


def test_what_was_dropped_is_the_draft_when_its_words_come_again() -> None:
    drafts = Drafts(FLAT, ROOM)
    drafts.remember([30, 31, 32, 33])
    assert drafts.after([1, 2, 31], 1, 20) == [32, 33]
    assert drafts.after([1, 2, 33], 1, 20) == []


@pytest.mark.parametrize(("machine", "drafted"), [(FLAT, True), (STEEP, False)])
def test_a_draft_is_fed_where_the_machine_gains_by_it(machine: PassTimer, drafted: bool) -> None:
    drafts = Drafts(machine, ROOM)
    drafts.set_hint(1, list(range(10, 26)), None)
    assert bool(drafts.after([1], 1, 20)) is drafted


def test_drafts_that_prove_wrong_are_fed_no_more_and_those_that_prove_right_are_again() -> None:
    drafts = Drafts(pace(_1=1.0, _2=1.3, _16=1.4), ROOM)

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
    assert length_after([500] * 40) > 0  # it is compared with what comes, fed or not


def test_the_other_model_is_asked_where_that_pays_and_is_not_asked_again_where_it_is_slow() -> None:
    asked = []

    def guess(path: Sequence[int], length: int) -> list[int]:
        asked.append(length)
        return [7] * length

    drafts = Drafts(pace(_1=1e-9, _2=1.1e-9), ROOM)
    drafts.set_hint(1, [], guess)
    assert drafts.after([1], 1, 20) == [7] * asked[0]  # it costs nothing, as far as is known
    drafts.set_hint(2, [], guess)
    assert drafts.after([1, 3], 1, 20) == []
    assert len(asked) == 1


def test_a_draft_ends_with_the_steps_that_are_wanted_and_with_the_context() -> None:
    drafts = Drafts(FLAT, 6)
    drafts.set_hint(1, list(range(10, 60)), None)
    assert len(drafts.after([1], 1, 3)) == 3
    assert len(drafts.after([1], 1, 50)) == 5
    roomy = Drafts(FLAT, ROOM)
    roomy.set_hint(1, list(range(10, 60)), None)
    assert len(roomy.after([1], 1, 50)) == LONGEST


class Anything(Drafts):
    """Drafts that hypothesis makes up."""

    def __init__(self, drafts: list[list[int]]) -> None:
        super().__init__(PassTimer(), ROOM)
        self._made_up = drafts

    def after(self, path: Sequence[int], new: int, limit: int) -> list[int]:
        return self._made_up.pop()[:limit] if self._made_up else []


@settings(max_examples=30, deadline=None)
@given(drafts=st.lists(st.lists(st.integers(0, 250), max_size=12), max_size=8), temperature=st.sampled_from([0.0, 0.8]))
def test_no_draft_changes_a_choice(tiny_base: Path, drafts: list[list[int]], temperature: float) -> None:
    model = LocalModel(tiny_base)
    prefix = model.tokenizer.encode("the sun", special_tokens=True)

    def tokens(drafts: Drafts | None) -> list[int]:
        cache = KVCache()
        sampling = Sampling(temperature, 0.9, "7") if temperature else None
        decoder = SpeculativeDecoder(cache, model.weights.forward, sampling)
        return [choice.token for choice in decoder.choices(prefix, 12, drafts)]

    assert tokens(Anything(drafts)) == tokens(None)
