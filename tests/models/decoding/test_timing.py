"""The measured cost of forward passes."""

import pytest
from nudging.models.decoding.timing import PassTimer


def timer_of(passes: dict[int, float]) -> PassTimer:
    """Return a timer that has recorded one pass per number of tokens, with its seconds."""
    timer = PassTimer()
    for tokens, seconds in passes.items():
        timer.record(tokens, seconds)
    return timer


@pytest.mark.parametrize(
    ("tokens", "seconds"), [(1, 1.0), (2, 1.0), (3, 4.0), (4, 4.0), (5, 4.0), (16, 9.0), (200, 9.0)]
)
def test_a_size_that_was_never_measured_costs_as_much_as_the_next_smaller_one(tokens: int, seconds: float) -> None:
    assert timer_of({1: 1.0, 4: 4.0, 16: 9.0}).cost(tokens) == seconds


def test_without_any_pass_all_sizes_cost_the_same() -> None:
    assert PassTimer().cost(1) == PassTimer().cost(100)


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
    assert timer.cost(1) == 2.0
    assert timer.cost(16) == 9.0
