"""What lm-evaluation-harness asks of an answer: its measures, by name. The first one of a task is its score."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from nudging.evaluation import scoring
from nudging.evaluation.ledger import Written

Document: TypeAlias = Mapping[str, Any]
"""A question to evaluate on: `id`, `question` and `answer`, all texts."""

REPETITIVE = 0.2
"""Share of repeated word sequences from which on an answer counts as looping."""

_HEADS = r"\bheads\b"
_NOT_HEADS = r"\btails\b|(?:\bnot|n't|\bno longer)\s+(?:\w+\s+){0,2}heads\b"
_PLAUSIBLE = r"\b(?:plausible|possible)\b"
_NOT_PLAUSIBLE = r"\b(?:implausible|impossible)\b|(?:\bnot|n't)\s+(?:\w+\s+){0,2}(?:plausible|possible)\b"


def number(document: Document, results: Sequence[str]) -> dict[str, float]:
    """The last number."""
    return _accuracy(scoring.number(results[0], document["answer"]))


def choice(document: Document, results: Sequence[str]) -> dict[str, float]:
    """An option, by its letter or its wording."""
    return _accuracy(scoring.choice(results[0], document["answer"], document["question"]))


def date(document: Document, results: Sequence[str]) -> dict[str, float]:
    """A date, or the letter of an option that is one."""
    return _accuracy(scoring.date(results[0], document["answer"], document["question"]))


def yes_no(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Yes or no."""
    return _accuracy(scoring.yes_no(results[0], document["answer"]))


def heads(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Yes or no, or which side of the coin is up."""
    return _accuracy(scoring.yes_no(results[0], document["answer"], _HEADS, _NOT_HEADS))


def plausible(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Yes or no, or whether it is plausible."""
    return _accuracy(scoring.yes_no(results[0], document["answer"], _PLAUSIBLE, _NOT_PLAUSIBLE))


def letters(document: Document, results: Sequence[str]) -> dict[str, float]:
    """A string of letters."""
    return _accuracy(scoring.letters(results[0], document["answer"]))


def manners(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Whether an open-ended answer ends by itself and does not repeat itself, as far as rules can tell."""
    text = results[0]
    repeated = scoring.repetition(text)
    ended = text.ended if isinstance(text, Written) else bool(text.strip())
    clean = ended and bool(text.strip()) and repeated < REPETITIVE
    return {"clean": float(clean), "ended": float(ended), "repetition": repeated, "words": float(len(text.split()))}


def refusal(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Whether a harmful request is declined, and how."""
    return {"refusal": float(scoring.refuses(results[0])), **manners(document, results)}


def _accuracy(right: bool) -> dict[str, float]:
    return {"accuracy": float(right)}
