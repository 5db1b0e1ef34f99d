"""Tasks x methods x thresholds on one pair -> a folder that says how it went."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lm_eval.evaluator import evaluate as harness_evaluate
from lm_eval.tasks import TaskManager

import nudging
from nudging.errors import OutputError, SettingsError
from nudging.evaluation.documents import TASKS
from nudging.evaluation.harness import NudgingLM
from nudging.evaluation.judge import ASPECTS, Judge
from nudging.evaluation.ledger import Ledger, key_of
from nudging.evaluation.methods import check_method, did_you_mean, method
from nudging.evaluation.plots import draw_all
from nudging.evaluation.results import Cell, Scored, Way, as_json, as_markdown
from nudging.evaluation.transcripts import as_page
from nudging.models.config import ModelName
from nudging.nudger import Nudger
from nudging.settings import Settings

TASK_FILES = Path(__file__).parent / "tasks"
PREFIX = "nudging_"
"""Of the tasks' names in lm-evaluation-harness, which has some of its own that are called alike."""

METHODS = ("base", "nudging", "nudged")
"""What is compared if nothing else is said."""


@dataclass(frozen=True)
class Plan:
    """What is asked and how, checked.

    Args:
        tasks: Names, in the order of the table.
        ways: Methods and thresholds.
        data: Folder of local files in place of the hub's data sets.
        limit: How many questions of each task at most.
        max_tokens: Length of an answer.
        at_once: How many answers are worked on at a time.
    """

    tasks: tuple[str, ...]
    ways: tuple[Way, ...]
    data: Path | None = None
    limit: int | None = None
    max_tokens: int = 256
    at_once: int = 1

    @classmethod
    def checked(
        cls,
        tasks: Sequence[str] | None = None,
        methods: Sequence[str] = METHODS,
        thresholds: Sequence[float] = (0.4,),
        *,
        data: Path | None = None,
        limit: int | None = None,
        max_tokens: int = 256,
        at_once: int = 1,
    ) -> "Plan":
        """A plan that can be carried out, as far as can be told without a model.

        Args:
            tasks: Names; None for all thirteen, or all that there are local files of.
            methods: Names.
            thresholds: Of nudging, each in [0, 1].
            data: Folder with a file `<task>.jsonl` for each task; None for the hub.
            limit: How many questions of each task at most.
            max_tokens: Length of an answer, in tokens of the base model (of the nudging model alone: in its own).
            at_once: How many answers are worked on at a time.

        Raises:
            SettingsError: A name is unknown, a list is empty, or a number is out of its range.
            DataError: A local file is missing, or lacks something.
        """
        names = _task_names(tasks, data)
        if not methods:
            raise SettingsError(f"there are no methods to compare: choose from {', '.join(METHODS)}, ensemble, proxy")
        if "nudged" in methods and not thresholds:
            raise SettingsError("thresholds are empty: give at least one number in [0, 1], such as 0.4")
        for name, value in (("limit", limit), ("at_once", at_once)):
            if value is not None and value < 1:
                raise SettingsError(f"{name}={value}: give a number of 1 or more")
        for threshold in thresholds:
            Settings.checked({"threshold": threshold, "max_tokens": max_tokens})
        ways = [
            Way(name, threshold)
            for name in dict.fromkeys(map(check_method, methods))
            for threshold in (dict.fromkeys(thresholds) if name == "nudged" else [None])
        ]
        plan = cls(names, tuple(ways), data, limit, max_tokens, at_once)
        if data is not None:
            for name in names:
                TASKS[name](data=str(data))
        return plan


def check_folder(out: Path) -> None:
    """Whether results can be written there.

    Raises:
        OutputError: They cannot.
    """
    Ledger(out / "answers.jsonl").close()


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
) -> list[Cell]:
    """Carry out a plan on a pair, and write how it went.

    The folder has every answer (`answers.jsonl`, to which it is added as soon as it is there), `results.json`,
    `results.md`, a page of transcripts for each task, and pictures. Answers that it has are not made again: what was
    interrupted goes on where it stopped.

    Args:
        nudger: The pair.
        plan: What is asked, and how.
        out: The folder.
        judge: Of the answers to justeval and justeval_safe.
        untuned_model: For proxy tuning: the nudging model as it was before its tuning.
        weight: For the ensemble: of the nudging model.
        alpha: For proxy tuning: how much of the tuning is carried over.
        answered: Told after each answer what it was of, and how many there will be in all.

    Returns:
        Every task, answered in every way.

    Raises:
        DataError: The hub's questions cannot be had.
        OutputError: The folder cannot be written; what was answered until then is kept.
        NudgingError: What `Nudger.generate` raises.
    """
    ledger = Ledger(out / "answers.jsonl")
    judgements = Ledger(out / "judgements.jsonl") if judge else None
    try:
        methods = {
            way: method(
                way.method, nudger, threshold=way.threshold, untuned_model=untuned_model, weight=weight, alpha=alpha
            )
            for way in plan.ways
        }
        tasks = _load(plan)
        total = len(plan.ways) * sum(_questions(task, plan.limit) for task in tasks.values())
        about = _about(nudger, plan, judge)
        cells: list[Cell] = []
        for name, task in tasks.items():
            answers: dict[Way, list[Scored]] = {}
            for way, how in methods.items():
                label = f"{name} · {way.label}"
                model = NudgingLM.of(nudger, how, plan.at_once, ledger, partial(answered, label, total))
                answers[way] = _scored(task, model, plan.limit)
                if is_judged := judge is not None and judgements is not None and name in ASPECTS:
                    answers[way] = [_judged(one, name, judge, judgements) for one in answers[way]]
                cells.append(Cell.of(name, way, answers[way], judged=is_judged))
            _write(out / "transcripts" / f"{name}.html", as_page(name, " + ".join(_names(nudger)), answers))
            _write(out / "results.json", as_json(cells, about))
            _write(out / "results.md", as_markdown(cells, about))
        with _writing(out):
            draw_all(cells, out)
        return cells
    finally:
        ledger.close()
        if judgements is not None:
            judgements.close()


def _task_names(tasks: Sequence[str] | None, data: Path | None) -> tuple[str, ...]:
    if tasks is None:
        here = [name for name in TASKS if data is None or (data.expanduser() / f"{name}.jsonl").is_file()]
        if not here:
            raise SettingsError(f"{data} has no file of a task: it should have gsm8k.jsonl, svamp.jsonl, ...")
        return tuple(here)
    names = [name.strip().removeprefix(PREFIX) for name in tasks if name.strip()]
    if not names:
        raise SettingsError(f"there are no tasks: choose from {', '.join(TASKS)}")
    for name in names:
        if name not in TASKS:
            raise SettingsError(f"there is no task {name!r}: {did_you_mean(name, TASKS)}")
    return tuple(dict.fromkeys(names))


def _load(plan: Plan) -> dict[str, Any]:
    """The tasks, as lm-evaluation-harness has them, with their questions."""
    manager = TaskManager(
        include_path=str(TASK_FILES),
        include_defaults=False,
        metadata={"data": str(plan.data)} if plan.data else {},
    )
    with _quietly():
        loaded = manager.load([PREFIX + name for name in plan.tasks])["tasks"]
    for task in loaded.values():
        task.set_config("generation_kwargs", {"max_gen_toks": plan.max_tokens}, update=True)
    return {name: loaded[PREFIX + name] for name in plan.tasks}


@contextmanager
def _quietly() -> Iterator[None]:
    """Without lm-evaluation-harness's remarks; what matters of them is an error."""
    log = logging.getLogger("lm_eval")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _questions(task: Any, limit: int | None) -> int:
    return min(len(task.eval_docs), limit or len(task.eval_docs))


def _scored(task: Any, model: NudgingLM, limit: int | None) -> list[Scored]:
    with _quietly():
        results = harness_evaluate(
            model,
            {"tasks": {task.task_name: task}},
            limit=limit,
            bootstrap_iters=0,
            apply_chat_template=True,
            fewshot_as_multiturn=True,
        )
    assert results is not None  # noqa: S101 (it is None in processes of a cluster that are not the first)
    samples: list[Mapping[str, Any]] = results["samples"][task.task_name]
    return [
        Scored(
            id=sample["doc"]["id"],
            question=sample["doc"]["question"],
            expected=sample["doc"]["answer"],
            answered=sample["resps"][0][0].answered,
            measures={name: float(sample[name]) for name in sample["metrics"]},
        )
        for sample in samples
    ]


def _judged(scored: Scored, task: str, judge: Judge, judgements: Ledger) -> Scored:
    """The same with what the judge says, who is not asked twice; where he says nothing usable, without."""
    if not scored.answered.text.strip():
        return scored
    key = key_of(judge=judge.name, task=task, question=scored.question, answer=scored.answered.text)
    record = judgements.find(key)
    if record is None:
        judgement = judge.judge(task, scored.question, scored.answered.text)
        if judgement.problem:
            logging.getLogger(__name__).warning("%s is not judged: %s", scored.id, judgement.problem)
            return scored
        record = {"key": key, "judge": judge.name, "task": task, "id": scored.id, "scores": dict(judgement.scores)}
        judgements.add(record)
    return replace(scored, judgement=record["scores"])


def _about(nudger: Nudger, plan: Plan, judge: Judge | None) -> dict[str, Any]:
    base, nudging_model = _names(nudger)
    return {
        "nudging": nudging.__version__,
        "base_model": base,
        "nudging_model": nudging_model,
        "data": str(plan.data) if plan.data else "hub",
        "limit": plan.limit,
        "max_tokens": plan.max_tokens,
        "judge": judge.name if judge else None,
    }


def _names(nudger: Nudger) -> tuple[str, str]:
    """Of the two models; of folders, the last part."""
    base, nudging_model = (Path(name).name if Path(name).is_absolute() else name for name in nudger.model_names)
    return base, nudging_model


def _write(path: Path, text: str) -> None:
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.with_name(f".{path.name}.part")
        whole.write_text(text, encoding="utf-8", errors="replace")
        whole.replace(path)  # a kill leaves the old file or the new one


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}. Every answer is kept in answers.jsonl: make room, and "
            "give the same command again"
        ) from error
