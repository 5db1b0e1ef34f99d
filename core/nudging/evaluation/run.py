"""Run a plan on one pair and write a folder of results."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lm_eval.evaluator import evaluate as harness_evaluate
from lm_eval.tasks import TaskManager

import nudging
from nudging.evaluation.answer_log import AnswerLog
from nudging.evaluation.harness import NudgingLM
from nudging.evaluation.judge import ASPECTS, Judge, LoggedJudge
from nudging.evaluation.methods import Method, make_method
from nudging.evaluation.output import output_errors, write_text
from nudging.evaluation.plan import PREFIX, Plan
from nudging.evaluation.result_plots import draw_all
from nudging.evaluation.results import RunConfig, ScoredAnswer, TaskResult, as_json, as_markdown
from nudging.evaluation.transcripts import as_page
from nudging.models.config import ModelName
from nudging.nudger import Nudger

TASK_FILES = Path(__file__).parent / "tasks"


def check_folder(out: Path) -> None:
    """Raise if results cannot be written to this folder.

    Raises:
        OutputError: They cannot.
    """
    AnswerLog(out / "answers.jsonl").close()


def evaluate(
    nudger: Nudger,
    plan: Plan,
    out: Path,
    *,
    judge: Judge | None = None,
    untuned_model: ModelName | None = None,
    weight: float = 0.5,
    alpha: float = 1.0,
    answered: Callable[[str, int], None] = lambda label, total: None,
) -> list[TaskResult]:
    """Run a plan on a pair, write the results to a folder and return them.

    The folder gets every answer as soon as it is complete (`answers.jsonl`), tables, transcripts and pictures. Answers
    that it already has are not generated again, so an interrupted run continues where it stopped.

    Args:
        nudger: The pair.
        plan: The plan.
        out: The folder.
        judge: Scores the answers to justeval and justeval_safe.
        untuned_model: For proxy tuning: the nudging model before it was tuned.
        weight: For the ensemble: the weight of the nudging model, in [0, 1].
        alpha: For proxy tuning: the factor of the difference that tuning made.
        answered: Called after each answer with (task and run configuration, number of answers in the whole plan).

    Raises:
        DataError: The hub's questions cannot be loaded.
        OutputError: The folder cannot be written. Earlier answers are kept.
        NudgingError: An error that `Nudger.generate` raises.
    """
    with closing(_Evaluation(nudger, plan, out, judge, answered)) as evaluation:
        options = {"untuned_model": untuned_model, "weight": weight, "alpha": alpha}
        return evaluation.run({one: _method(one, nudger, options) for one in plan.run_configs})


def _method(config: RunConfig, nudger: Nudger, options: Mapping[str, Any]) -> Method:
    return make_method(config.method, nudger, threshold=config.threshold, **options)


class _Evaluation:
    """One run of a plan, with its logs open."""

    def __init__(
        self, nudger: Nudger, plan: Plan, out: Path, judge: Judge | None, answered: Callable[[str, int], None]
    ) -> None:
        self._nudger, self._plan, self._out, self._answered = nudger, plan, out, answered
        self._answer_log = AnswerLog(out / "answers.jsonl")
        self._judge = LoggedJudge(judge, out / "judgements.jsonl") if judge else None
        self._about = _about(nudger, plan, judge)

    def close(self) -> None:
        self._answer_log.close()
        if self._judge:
            self._judge.close()

    def run(self, methods: Mapping[RunConfig, Method]) -> list[TaskResult]:
        """Run all tasks with these methods. Results are written after each task."""
        tasks = load_tasks(self._plan)
        total = len(methods) * sum(_question_count(task, self._plan.limit) for task in tasks.values())
        results: list[TaskResult] = []
        for name, task in tasks.items():
            answers = {config: self._answers(name, task, config, methods[config], total) for config in methods}
            is_judged = self._judge is not None and name in ASPECTS
            results += [TaskResult.of(name, config, scored, is_judged) for config, scored in answers.items()]
            pair = f"{self._about['base_model']} + {self._about['nudging_model']}"
            write_text(self._out / "transcripts" / f"{name}.html", as_page(name, pair, answers))
            write_text(self._out / "results.json", as_json(results, self._about))
            write_text(self._out / "results.md", as_markdown(results, self._about))
        with output_errors(self._out):
            draw_all(results, self._out)
        return results

    def _answers(self, name: str, task: Any, config: RunConfig, method: Method, total: int) -> list[ScoredAnswer]:
        """Return the scored answers to a task, known ones from the log and new ones from the method."""
        on_answer = partial(self._answered, f"{name} · {config.label}", total)
        model = NudgingLM.of(self._nudger, method, self._plan.at_once, self._answer_log, on_answer)
        return [self._scored(name, sample) for sample in _samples(task, model, self._plan.limit)]

    def _scored(self, task: str, sample: Mapping[str, Any]) -> ScoredAnswer:
        document, answer = sample["doc"], sample["resps"][0][0].record
        judgement: Mapping[str, int] = {}
        if self._judge and task in ASPECTS:
            judgement = self._judge.scores(task, document["id"], document["question"], answer.text)
        return ScoredAnswer(
            id=document["id"],
            question=document["question"],
            expected=document["answer"],
            answer=answer,
            measures={name: float(sample[name]) for name in sample["metrics"]},
            judgement=judgement,
        )


def load_tasks(plan: Plan) -> dict[str, Any]:
    """Return lm-evaluation-harness's tasks by our names, with their questions loaded."""
    manager = TaskManager(
        include_path=str(TASK_FILES),
        include_defaults=False,
        metadata={"data": str(plan.data)} if plan.data else {},
    )
    with quiet_harness():
        loaded = manager.load([PREFIX + name for name in plan.tasks])["tasks"]
    for task in loaded.values():
        task.set_config("generation_kwargs", {"max_gen_toks": plan.max_tokens}, update=True)
    return {name: loaded[PREFIX + name] for name in plan.tasks}


def _question_count(task: Any, limit: int | None) -> int:
    return min(len(task.eval_docs), limit or len(task.eval_docs))


def _samples(task: Any, model: NudgingLM, limit: int | None) -> list[Mapping[str, Any]]:
    """Return lm-evaluation-harness's record of each question: the document, the answer and its measures."""
    with quiet_harness():
        results = harness_evaluate(
            model,
            {"tasks": {task.task_name: task}},
            limit=limit,
            bootstrap_iters=0,
            apply_chat_template=True,
            fewshot_as_multiturn=True,
        )
    assert results is not None  # noqa: S101 (None only in the further processes of a cluster)
    samples: list[Mapping[str, Any]] = results["samples"][task.task_name]
    return samples


@contextmanager
def quiet_harness() -> Iterator[None]:
    """Hide lm-evaluation-harness's log messages below errors."""
    harness_log = logging.getLogger("lm_eval")
    level = harness_log.level
    harness_log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        harness_log.setLevel(level)


def _about(nudger: Nudger, plan: Plan, judge: Judge | None) -> dict[str, Any]:
    """Return the description of a run for its results. A model in a folder is named after the folder."""
    base, nudging_model = (Path(name).name if Path(name).is_absolute() else name for name in nudger.model_names)
    return {
        "nudging": nudging.__version__,
        "base_model": base,
        "nudging_model": nudging_model,
        "data": str(plan.data) if plan.data else "hub",
        "limit": plan.limit,
        "max_tokens": plan.max_tokens,
        "judge": judge.name if judge else None,
    }
