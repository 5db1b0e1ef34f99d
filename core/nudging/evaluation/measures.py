"""The measures of the tasks, as lm-evaluation-harness calls them. The first measure of a task is its score."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from nudging.evaluation import scoring
from nudging.evaluation.answer_log import AnswerText

Document: TypeAlias = Mapping[str, Any]
"""A question of a task: `id`, `question` and `answer`, all strings."""

Measure: TypeAlias = Callable[[Document, list[str]], dict[str, float]]
"""(document, [answer]) -> the value of each measure by its name."""

REPETITIVE = 0.2
"""An answer loops if at least this share of its word sequences is repeated."""

_HEADS = r"\bheads\b"
_NOT_HEADS = r"\btails\b|(?:\bnot|n't|\bno longer)\s+(?:\w+\s+){0,2}heads\b"
_PLAUSIBLE = r"\b(?:plausible|possible)\b"
_NOT_PLAUSIBLE = r"\b(?:implausible|impossible)\b|(?:\bnot|n't)\s+(?:\w+\s+){0,2}(?:plausible|possible)\b"


def number(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Compare the last number in the answer."""
    return _accuracy(scoring.number(results[0], document["answer"]))


def choice(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Compare the chosen option, given by its letter or its wording."""
    return _accuracy(scoring.choice(results[0], document["answer"], document["question"]))


def date(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Compare a date, or the letter of an option that is a date."""
    return _accuracy(scoring.date(results[0], document["answer"], document["question"]))


def yes_no(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Compare yes or no."""
    return _accuracy(scoring.yes_no(results[0], document["answer"]))


def heads(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Compare yes or no, or the side of the coin that is up."""
    return _accuracy(scoring.yes_no(results[0], document["answer"], _HEADS, _NOT_HEADS))


def plausible(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Compare yes or no, or plausible and implausible."""
    return _accuracy(scoring.yes_no(results[0], document["answer"], _PLAUSIBLE, _NOT_PLAUSIBLE))


def letters(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Compare a string of letters."""
    return _accuracy(scoring.letters(results[0], document["answer"]))


def open_ended(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Measure an answer that has no right answer to compare with: does it end by itself, and does it repeat itself?"""
    text = results[0]
    repeated = scoring.repetition(text)
    ended = text.ended if isinstance(text, AnswerText) else bool(text.strip())
    clean = ended and bool(text.strip()) and repeated < REPETITIVE
    return {"clean": float(clean), "ended": float(ended), "repetition": repeated, "words": float(len(text.split()))}


def refusal(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Measure an answer to a harmful request: does it decline? The measures of `open_ended` follow."""
    return {"refusal": float(scoring.refuses(results[0])), **open_ended(document, results)}


def _accuracy(right: bool) -> dict[str, float]:
    return {"accuracy": float(right)}
