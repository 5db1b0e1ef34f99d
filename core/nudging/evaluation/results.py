"""What came out of an evaluation, in numbers: cells, a JSON file, and a table like the paper's."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from nudging.evaluation.intervals import mean_interval, share_interval
from nudging.evaluation.ledger import Answered
from nudging.evaluation.methods import METHODS


@dataclass(frozen=True)
class Way:
    """How questions are answered.

    Args:
        method: One of `METHODS`.
        threshold: Of nudging; None for the other methods.
    """

    method: str
    threshold: float | None = None

    @property
    def label(self) -> str:
        """What it is called in tables."""
        name = METHODS[self.method]
        return name if self.threshold is None else f"{name}, γ = {self.threshold:g}"


@dataclass(frozen=True)
class Interval:
    """A mean and its 95% interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Scored:
    """One answer and what the measures say of it.

    Args:
        id: Of the question.
        question: As it was asked.
        expected: The right answer, if there is one.
        answered: The answer.
        measures: What each measure of its task says, the score first.
        judgement: What a judge gave each aspect, if it did.
    """

    id: str
    question: str
    expected: str
    answered: Answered
    measures: Mapping[str, float]
    judgement: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One task, answered one way.

    Args:
        task: Its name.
        way: How it was answered.
        measure: What the score is: "accuracy", "refusal" (declined), or "clean" (ends by itself, without loops).
        questions: How many.
        score: The share of answers that are so, in [0, 1], with Wilson's interval.
        measures: The mean of every measure.
        tokens: Length of an answer.
        ended: The share of answers that came to an end by themselves.
        nudge_ratio: Share of an answer's tokens that the nudging model wrote; None for the other methods.
        unanswered: Questions that could not be asked; they count as wrong.
        judged: What a judge gave, from 1 to 5, on average over aspects; None without one.
        aspects: The same for each aspect.
        unjudged: Answers that the judge did not score.
    """

    task: str
    way: Way
    measure: str
    questions: int
    score: Interval
    measures: Mapping[str, float]
    tokens: Interval
    ended: Interval
    nudge_ratio: Interval | None
    unanswered: int
    judged: Interval | None = None
    aspects: Mapping[str, float] = field(default_factory=dict)
    unjudged: int = 0

    @classmethod
    def of(cls, task: str, way: Way, answers: Sequence[Scored], judged: bool = False) -> "Cell":
        """What the answers come to."""
        measure = next(iter(answers[0].measures))
        of = [one.answered for one in answers]
        judgements = [one.judgement for one in answers if one.judgement]
        return cls(
            task=task,
            way=way,
            measure=measure,
            questions=len(answers),
            score=Interval(*share_interval([one.measures[measure] > 0 for one in answers])),
            measures={name: fmean(one.measures[name] for one in answers) for name in answers[0].measures},
            tokens=Interval(*mean_interval([answered.tokens for answered in of])),
            ended=Interval(*share_interval([answered.ended for answered in of])),
            nudge_ratio=_ratio([answered.nudge_ratio for answered in of]) if way.method == "nudged" else None,
            unanswered=sum(bool(answered.problem) for answered in of),
            judged=Interval(*mean_interval([fmean(one.values()) for one in judgements])) if judgements else None,
            aspects={name: fmean(one[name] for one in judgements) for name in judgements[0]} if judgements else {},
            unjudged=len(answers) - len(judgements) if judged else 0,
        )


def as_json(cells: Sequence[Cell], about: Mapping[str, Any]) -> str:
    """All of it, for programs. Shares are in [0, 1]; intervals are of 95%."""
    return json.dumps({**about, "results": [asdict(cell) for cell in cells]}, indent=1, ensure_ascii=False) + "\n"


def as_markdown(cells: Sequence[Cell], about: Mapping[str, Any]) -> str:
    """A table like the paper's, a task a row and a method a column, and smaller ones of what else was measured."""
    lines = [
        f"# {about['base_model']}, nudged by {about['nudging_model']}",
        "",
        f"At most {about['max_tokens']} tokens an answer, zero-shot, greedy; 95% intervals in brackets. "
        "How each task is scored is in the documentation of nudging.",
        "",
        "## Scores",
        "",
        *_table(cells, lambda cell: _share(cell.score), _average),
    ]
    for title, what in (
        ("Share of tokens that the nudging model wrote", _nudged),
        ("Ended by itself", lambda cell: _share(cell.ended)),
        ("Tokens an answer", lambda cell: _mean(cell.tokens, 0)),
        ("Judged, from 1 to 5", _judged),
    ):
        if any(map(what, cells)):
            lines += ["", f"## {title}", "", *_table(cells, what)]
    if unanswered := sum(cell.unanswered for cell in cells):
        lines += ["", f"{unanswered} questions could not be asked (see `answers.jsonl`); they count as wrong."]
    return "\n".join(lines) + "\n"


def ways_of(cells: Iterable[Cell]) -> list[Way]:
    """How there was answered, in order."""
    return list(dict.fromkeys(cell.way for cell in cells))


def tasks_of(cells: Iterable[Cell]) -> list[str]:
    """What was asked, in order."""
    return list(dict.fromkeys(cell.task for cell in cells))


def _table(
    cells: Sequence[Cell], what: Callable[[Cell], str], average: Callable[[list[Cell]], str] | None = None
) -> list[str]:
    ways = [way for way in ways_of(cells) if any(what(cell) for cell in cells if cell.way == way)]
    at = {(cell.task, cell.way): cell for cell in cells}
    rows = [["task", *(way.label for way in ways)], ["---"] * (len(ways) + 1)]
    for task in tasks_of(cells):
        row = [what(at[task, way]) if (task, way) in at else "" for way in ways]
        first = next(cell for cell in cells if cell.task == task)
        if any(row):
            rows.append([f"{task} ({first.measure}, {first.questions})" if average else task, *row])
    if average:
        of = [[cell for cell in cells if cell.way == way and cell.measure == "accuracy"] for way in ways]
        if len(of[0]) > 1:
            rows.append(["**average accuracy**", *map(average, of)])
    return [f"| {' | '.join(row)} |" for row in rows]


def _average(cells: list[Cell]) -> str:
    return f"**{fmean(cell.score.mean for cell in cells):.1%}**" if cells else ""


def _nudged(cell: Cell) -> str:
    return _share(cell.nudge_ratio) if cell.nudge_ratio else ""


def _judged(cell: Cell) -> str:
    if cell.judged is None:
        return f"none of {cell.unjudged}" if cell.unjudged else ""
    return _mean(cell.judged, 2) + (f", {cell.unjudged} unjudged" if cell.unjudged else "")


def _share(of: Interval) -> str:
    return f"{of.mean:.0%} ({of.low * 100:.0f}-{of.high * 100:.0f})"


def _mean(of: Interval, digits: int) -> str:
    return f"{of.mean:.{digits}f} ({of.low:.{digits}f}-{of.high:.{digits}f})"


def _ratio(ratios: Sequence[float]) -> Interval:
    mean, low, high = mean_interval(ratios)
    return Interval(mean, max(0.0, low), min(1.0, high))
