"""Successive halving: many candidates answer a few questions, the better half of them twice as many, and so on.

Pure functions: the numbers of candidates, questions and answers. `tune.py` ranks the candidates.
"""

from collections.abc import Iterator, Sequence

FIRST_QUESTIONS = 8
"""Minimum number of questions of the first round, if there are as many."""


def round_sizes(candidates: int, questions: int) -> list[tuple[int, int]]:
    """Return (number of candidates, number of questions) of each round.

    The last round has all questions. With one candidate there is nothing to choose, and no round.

        >>> round_sizes(18, 50)
        [(18, 8), (9, 16), (5, 32), (3, 50)]

    Args:
        candidates: Number of candidates.
        questions: Number of questions.
    """
    sizes, asked = [], min(questions, max(FIRST_QUESTIONS, _first(candidates, questions)))
    while candidates > 1:
        sizes.append((candidates, asked))
        if asked == questions:
            break
        candidates, asked = half(candidates), min(questions, 2 * asked)
    return sizes


def half(candidates: int) -> int:
    """Return the number of candidates that stay, at least two: only the last round chooses the best."""
    return max(2, -(-candidates // 2))


def answer_count(candidates: int, questions: int) -> int:
    """Return the number of answers of all rounds. A candidate answers a question once."""
    return sum(new * count for count, new in _new_questions(round_sizes(candidates, questions)))


def _new_questions(sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    before = 0
    for candidates, questions in sizes:
        yield candidates, questions - before
        before = questions


def _first(candidates: int, questions: int) -> int:
    """Return the number of questions of a first round that ends at all questions with two candidates."""
    while candidates > 2:
        candidates, questions = half(candidates), -(-questions // 2)
    return questions
