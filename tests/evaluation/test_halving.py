"""Successive halving, as tables."""

from itertools import pairwise

import pytest
from nudging.evaluation.halving import answer_count, half, round_sizes


@pytest.mark.parametrize(
    ("candidates", "questions", "rounds"),
    [
        (1, 50, []),
        (2, 50, [(2, 50)]),
        (3, 50, [(3, 25), (2, 50)]),
        (18, 50, [(18, 8), (9, 16), (5, 32), (3, 50)]),
        (18, 200, [(18, 13), (9, 26), (5, 52), (3, 104), (2, 200)]),
        (18, 8, [(18, 8)]),
        (18, 1, [(18, 1)]),
        (5, 9, [(5, 8), (3, 9)]),
    ],
)
def test_rounds_have_half_the_candidates_and_twice_the_questions(
    candidates: int, questions: int, rounds: list[tuple[int, int]]
) -> None:
    assert round_sizes(candidates, questions) == rounds


@pytest.mark.parametrize("candidates", range(2, 40))
@pytest.mark.parametrize("questions", [1, 7, 8, 9, 50, 333])
def test_the_last_round_has_all_questions_and_a_choice(candidates: int, questions: int) -> None:
    rounds = round_sizes(candidates, questions)
    assert rounds[0][0] == candidates
    assert rounds[-1][1] == questions
    assert all(count >= 2 for count, _ in rounds)
    assert all(earlier[1] < later[1] for earlier, later in pairwise(rounds))
    assert answer_count(candidates, questions) <= candidates * questions


@pytest.mark.parametrize(("candidates", "staying"), [(27, 14), (5, 3), (3, 2), (2, 2)])
def test_half_of_the_candidates_stay_but_at_least_two(candidates: int, staying: int) -> None:
    assert half(candidates) == staying


def test_each_candidate_answers_a_question_once() -> None:
    assert answer_count(18, 50) == 18 * 8 + 9 * 8 + 5 * 16 + 3 * 18
    assert answer_count(1, 50) == 0
