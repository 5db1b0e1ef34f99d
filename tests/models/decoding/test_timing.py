"""The measured cost of forward passes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nudging.models.decoding.timing import PassTimer


def timer_of(passes: dict[int, float]) -> PassTimer:
    """Return a timer that has recorded one pass per number of tokens, with its seconds."""
    timer = PassTimer()
    for tokens, seconds in passes.items():
        timer.record(tokens, seconds)
    return timer


@pytest.mark.parametrize(
    ("tokens", "seconds"), [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (10, 7.0), (16, 10.0), (17, 10.5), (40, 22.0)]
)
def test_sizes_that_were_not_measured_lie_on_a_line_through_the_nearest_two(tokens: int, seconds: float) -> None:
    assert timer_of({1: 1.0, 4: 4.0, 16: 10.0}).cost(tokens) == pytest.approx(seconds)


def test_after_one_size_each_token_costs_the_same() -> None:
    timer = timer_of({40: 80.0})
    assert (timer.cost(1), timer.cost(41)) == (2.0, 82.0)
    assert PassTimer().cost(7) == 7 * PassTimer().cost(1)


@given(st.dictionaries(st.integers(1, 600), st.floats(0.001, 9.0), min_size=2, max_size=12))
def test_more_tokens_never_cost_less(passes: dict[int, float]) -> None:
    costs = [timer_of(passes).cost(tokens) for tokens in range(1, 700)]
    assert all(one <= other + 1e-9 for one, other in pairwise(costs))


def test_one_slow_pass_does_not_change_the_cost() -> None:
    timer = timer_of({1: 1.0})
    for seconds in (1.0, 30.0, 1.0):
        timer.record(1, seconds)
    assert timer.cost(1) == 1.0


def test_a_lasting_change_of_speed_changes_the_cost() -> None:
    timer = timer_of({1: 1.0})
    for _ in range(5):
        timer.record(1, 2.0)
    assert timer.cost(1) == 2.0


def test_the_cost_counts_the_other_sequences_of_a_batch() -> None:
    timer = timer_of({1: 1.0, 16: 2.0, 256: 9.0})
    for _ in range(50):
        timer.record(16, 2.0, sequences=16)
    assert timer.cost(1) == pytest.approx(2.0, rel=1e-3)
    assert timer.cost(16) == pytest.approx(9.0, rel=1e-3)
