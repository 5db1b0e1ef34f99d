"""The questions of the thirteen tasks for a tuning, with the prompts and the scores of `nudging eval`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nudging.evaluation.answer_log import AnswerRecord, AnswerText
from nudging.evaluation.documents import TASKS
from nudging.evaluation.measures import Measure
from nudging.evaluation.plan import Plan
from nudging.evaluation.run import load_tasks
from nudging.evaluation.tune_data import Question


def task_questions(tasks: Sequence[str] | None, data: Path | None = None, limit: int | None = None) -> list[Question]:
    """Return the questions of tasks, without repetitions.

    Args:
        tasks: The names of the tasks. None for all thirteen, or for those with a local file.
        data: Folder with a file `<task>.jsonl` for each task. None loads from the hub.
        limit: Maximum number of questions per task; the first ones are taken.

    Raises:
        SettingsError: There is no such task, or the limit is out of range.
        DataError: The questions cannot be loaded.
    """
    plan = Plan.checked(tasks, data=data, limit=limit)
    questions = [
        Question(document["id"], _messages(task, document), _test(TASKS[name].measure, document))
        for name, task in load_tasks(plan).items()
        for document in list(task.eval_docs)[:limit]
    ]
    return list({question.digest: question for question in questions}.values())


def _messages(task: Any, document: Mapping[str, str]) -> list[dict[str, str]]:
    system = task.config.description.rstrip("\n")  # the line break is for prompts without a chat template
    return [{"role": "system", "content": system}, {"role": "user", "content": task.doc_to_text(document)}]


def _test(measure: Measure, document: Mapping[str, str]) -> Callable[[AnswerRecord], bool]:
    def is_right(answer: AnswerRecord) -> bool:
        score, *_ = measure(document, [AnswerText.of(answer)]).values()
        return score > 0

    return is_right
