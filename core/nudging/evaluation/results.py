"""The results of an evaluation as numbers: one `TaskResult` per task and run configuration, as JSON and as tables."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from nudging.evaluation.answer_log import AnswerRecord
from nudging.evaluation.intervals import mean_interval, share_interval
from nudging.evaluation.methods import METHODS


@dataclass(frozen=True)
class RunConfig:
    """A method and its threshold.

    Args:
        method: One of `METHODS`.
        threshold: The threshold of nudging. None for the other methods.
    """

    method: str
    threshold: float | None = None

    @property
    def label(self) -> str:
        """The name in tables."""
        name = METHODS[self.method]
        return name if self.threshold is None else f"{name}, γ = {self.threshold:g}"


@dataclass(frozen=True)
class Interval:
    """A mean and its 95% interval."""

    mean: float
    low: float
    high: float

    def as_tuple(self) -> tuple[float, float, float]:
        """Return mean, low and high."""
        return self.mean, self.low, self.high


@dataclass(frozen=True)
class ScoredAnswer:
    """One answer and its scores.

    Args:
        id: The id of the question.
        question: The question.
        expected: The right answer, or an empty string for open-ended questions.
        answer: The answer.
        measures: The value of each measure of the task. The first one is the score.
        judgement: The judge's score for each aspect. Empty if there is none.
    """

    id: str
    question: str
    expected: str
    answer: AnswerRecord
    measures: Mapping[str, float]
    judgement: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskResult:
    """The result of one task with one run configuration.

    Args:
        task: The name of the task.
        run_config: The method and its threshold.
        measure: The measure of the score: "accuracy", "refusal" (the answer declines), or "clean" (the answer ends by
            itself and does not loop).
        questions: Number of questions.
        score: The share of answers for which the measure is above 0, with Wilson's interval.
        measures: The mean of every measure.
        tokens: The length of an answer, in tokens.
        ended: The share of answers that ended by themselves.
        nudge_ratio: The mean share of an answer's tokens that the nudging model wrote. None for the other methods.
        unanswered: Number of questions whose prompt could not be used. They count as wrong.
        judged: The judge's score from 1 to 5, averaged over aspects. None without a judge.
        aspects: The judge's mean score of each aspect.
        unjudged: Number of answers without a usable score from the judge.
    """

    task: str
    run_config: RunConfig
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
    def of(cls, task: str, run_config: RunConfig, scored: Sequence[ScoredAnswer], judged: bool = False) -> "TaskResult":
        """Return the result of these answers.

        Args:
            task: The name of the task.
            run_config: The method and its threshold.
            scored: The answers.
            judged: True if a judge scored them.
        """
        measure = next(iter(scored[0].measures))
        answers = [one.answer for one in scored]
        judgements = [one.judgement for one in scored if one.judgement]
        is_nudged = run_config.method == "nudged"
        return cls(
            task=task,
            run_config=run_config,
            measure=measure,
            questions=len(scored),
            score=Interval(*share_interval([one.measures[measure] > 0 for one in scored])),
            measures={name: fmean(one.measures[name] for one in scored) for name in scored[0].measures},
            tokens=Interval(*mean_interval([answer.tokens for answer in answers])),
            ended=Interval(*share_interval([answer.ended for answer in answers])),
            nudge_ratio=_ratio_interval([answer.nudge_ratio for answer in answers]) if is_nudged else None,
            unanswered=sum(bool(answer.problem) for answer in answers),
            judged=Interval(*mean_interval([fmean(one.values()) for one in judgements])) if judgements else None,
            aspects={name: fmean(one[name] for one in judgements) for name in judgements[0]} if judgements else {},
            unjudged=len(scored) - len(judgements) if judged else 0,
        )


def as_json(results: Sequence[TaskResult], about: Mapping[str, Any]) -> str:
    """Return all results as JSON. Shares are in [0, 1]; intervals are 95% intervals."""
    return json.dumps({**about, "results": [asdict(one) for one in results]}, indent=1, ensure_ascii=False) + "\n"


def as_markdown(results: Sequence[TaskResult], about: Mapping[str, Any]) -> str:
    """Return a table like the paper's, with a row per task and a column per run configuration, and smaller tables."""
    lines = [
        f"# {about['base_model']}, nudged by {about['nudging_model']}",
        "",
        f"Answers of up to {about['max_tokens']} tokens, zero-shot, greedy; 95% intervals in brackets. "
        "docs/evaluation.md of nudging explains how each task is scored.",
        "",
        "## Scores",
        "",
        *_table(results, lambda result: _share(result.score), _average),
    ]
    for title, cell in (
        ("Share of tokens that the nudging model wrote", _nudged),
        ("Ended by itself", lambda result: _share(result.ended)),
        ("Tokens per answer", lambda result: _mean(result.tokens, 0)),
        ("Judged, from 1 to 5", _judged),
    ):
        if any(map(cell, results)):
            lines += ["", f"## {title}", "", *_table(results, cell)]
    if unanswered := sum(result.unanswered for result in results):
        lines += ["", f"{unanswered} questions could not be asked (see `answers.jsonl`); they count as wrong."]
    return "\n".join(lines) + "\n"


def run_configs_of(results: Iterable[TaskResult]) -> list[RunConfig]:
    """Return the run configurations, in order."""
    return list(dict.fromkeys(result.run_config for result in results))


def tasks_of(results: Iterable[TaskResult]) -> list[str]:
    """Return the names of the tasks, in order."""
    return list(dict.fromkeys(result.task for result in results))


def _table(
    results: Sequence[TaskResult],
    cell: Callable[[TaskResult], str],
    average: Callable[[list[TaskResult]], str] | None = None,
) -> list[str]:
    """Return the lines of a table, without columns and rows that are empty."""
    configs = [one for one in run_configs_of(results) if any(cell(r) for r in results if r.run_config == one)]
    by_place = {(result.task, result.run_config): result for result in results}
    rows = [["task", *(config.label for config in configs)], ["---"] * (len(configs) + 1)]
    for task in tasks_of(results):
        row = [cell(by_place[task, config]) if (task, config) in by_place else "" for config in configs]
        first = next(result for result in results if result.task == task)
        if any(row):
            rows.append([f"{task} ({first.measure}, {first.questions})" if average else task, *row])
    if average:
        columns = [[r for r in results if r.run_config == one and r.measure == "accuracy"] for one in configs]
        if len(columns[0]) > 1:
            rows.append(["**average accuracy**", *map(average, columns)])
    return [f"| {' | '.join(row)} |" for row in rows]


def _average(results: list[TaskResult]) -> str:
    return f"**{fmean(result.score.mean for result in results):.1%}**" if results else ""


def _nudged(result: TaskResult) -> str:
    return _share(result.nudge_ratio) if result.nudge_ratio else ""


def _judged(result: TaskResult) -> str:
    if result.judged is None:
        return f"none of {result.unjudged}" if result.unjudged else ""
    return _mean(result.judged, 2) + (f", {result.unjudged} unjudged" if result.unjudged else "")


def _share(interval: Interval) -> str:
    return f"{interval.mean:.0%} ({interval.low * 100:.0f}-{interval.high * 100:.0f})"


def _mean(interval: Interval, digits: int) -> str:
    return f"{interval.mean:.{digits}f} ({interval.low:.{digits}f}-{interval.high:.{digits}f})"


def _ratio_interval(ratios: Sequence[float]) -> Interval:
    mean, low, high = mean_interval(ratios)
    return Interval(mean, max(0.0, low), min(1.0, high))
