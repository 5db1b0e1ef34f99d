"""The questions of the thirteen tasks, in one shape: from the hub, or from a folder of local files.

Each function at the end is named as its task, says where the hub has it, and shapes a row of it; what becomes of it is
what the task file names as its `custom_dataset`. lm-evaluation-harness's own loading cannot be told of a local folder
when it is run; this can: `data`, in its metadata.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from lm_eval.api.registry import model_registry

from nudging.errors import DataError
from nudging.evaluation import measures
from nudging.evaluation.measures import Document

Row: TypeAlias = Mapping[str, Any]
Measure: TypeAlias = Callable[[Document, list[str]], dict[str, float]]

# lm-evaluation-harness looks for no plug-ins; it reads task files, and through them this, before it looks for its model
model_registry.register("nudging", target="nudging.evaluation.harness:NudgingLM")

LETTERS = "ABCDEFGHIJ"

TASKS: dict[str, "Source"] = {}
"""Where each task's questions are, by its name, in the paper's order."""


class Source:
    """Where a task's questions are; called, it loads them, as lm-evaluation-harness asks for a data set.

    Args:
        task: Its name.
        hub: Path, configuration and split of its data set on the hub.
        measure: How the task is scored.
        shape: Request and answer of a row there, or None of one to leave out.
    """

    def __init__(
        self,
        task: str,
        hub: tuple[str, str | None, str],
        measure: Measure,
        shape: Callable[[Row], tuple[str, str] | None],
    ) -> None:
        self.task, self.hub, self.measure, self.shape = task, hub, measure, shape

    def __call__(self, data: str | None = None, **metadata: Any) -> dict[str, Any]:
        """The documents, as the split `test`.

        Args:
            data: Folder of local files in place of the hub.
            **metadata: What else there is in a task's metadata; not used.

        Raises:
            DataError: They cannot be had, or lack something.
        """
        from datasets import Dataset

        documents = local(self.task, Path(data), self.measure) if data else self._from_hub()
        return {"test": Dataset.from_list(documents)}

    def _from_hub(self) -> list[dict[str, str]]:
        from datasets import load_dataset

        path, name, split = self.hub
        try:
            rows = load_dataset(path, name, split=split)
        except Exception as error:  # of many kinds: no network, no such file, an HTTP status, a changed data set
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(
                f"cannot get {path} for the task {self.task} from the hub: {reason}. Without a network, give a folder "
                "of local files as data"
            ) from error
        shaped = enumerate(map(self.shape, rows))
        return [
            {"id": f"{self.task}-{number}", "question": shape[0], "answer": shape[1]}
            for number, shape in shaped
            if shape is not None
        ]

    def __repr__(self) -> str:
        return f"the questions of {self.task}, by default {self.hub}"


def hub(
    path: str, name: str | None = None, *, split: str, measure: Measure
) -> Callable[[Callable[[Row], tuple[str, str] | None]], Source]:
    """Declares where the hub has the task that a function is named as; the function shapes a row of it."""

    def declare(shape: Callable[[Row], tuple[str, str] | None]) -> Source:
        TASKS[shape.__name__] = Source(shape.__name__, (path, name, split), measure, shape)
        return TASKS[shape.__name__]

    return declare


def local(task: str, folder: Path, measure: Measure) -> list[dict[str, str]]:
    """The documents of a task in a folder's file of JSON lines, `<task>.jsonl`.

    Raises:
        DataError: There is no such file, or a line of it is not JSON, lacks a field, or has an answer that can never
            be given; the message says which.
    """
    path = folder.expanduser() / f"{task}.jsonl"
    documents = [_checked(task, row, f"{path}, line {number}", number, measure) for number, row in _lines(path)]
    if not documents:
        raise DataError(f'{path} has no questions: give a line of JSON for each, {{"question": …, "answer": …}}')
    return documents


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"there is no file {path}: leave its task out, or put its questions there") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}; it is a file of JSON lines in UTF-8") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number} is not JSON ({error}): {line.strip()[:60]}") from None


def _checked(task: str, row: Any, where: str, number: int, measure: Measure) -> dict[str, str]:
    is_judged = measure in (measures.manners, measures.refusal)
    if not isinstance(row, dict):
        raise DataError(f"{where} is not an object: {str(row)[:60]!r}")
    for field in ("question",) if is_judged else ("question", "answer"):
        if not isinstance(row.get(field), str) or not row[field].strip():
            has = f"{row[field]!r}, which is no text" if row.get(field) is not None else "missing"
            raise DataError(f"{where}: the field {field!r} is {has}; it has the fields {', '.join(row) or 'none'}")
    document = {"id": str(row.get("id") or f"{task}-{number}"), "question": row["question"]}
    document["answer"] = str(row.get("answer") or "")
    if not is_judged and not next(iter(measure(document, [document["answer"]]).values())):
        raise DataError(
            f"{where}: the field 'answer' is {document['answer'][:60]!r}, which is no answer to a question of {task}"
        )
    return document


def _with_options(question: str, wordings: list[str]) -> str:
    return "\n".join([question.strip(), *(f"{LETTERS[at]}. {wording}" for at, wording in enumerate(wordings))])


@hub("openai/gsm8k", "main", split="test", measure=measures.number)
def gsm8k(row: Row) -> tuple[str, str]:
    return row["question"], row["answer"].split("####")[-1].strip()


@hub("ChilleD/SVAMP", split="train+test", measure=measures.number)
def svamp(row: Row) -> tuple[str, str]:
    return f"{row['Body'].strip()} {row['Request'].strip()}", str(row["Answer"])


@hub("ChilleD/MultiArith", split="train+test", measure=measures.number)
def multiarith(row: Row) -> tuple[str, str]:
    return row["question"].strip(), str(row["final_ans"])


@hub("cais/mmlu", "all", split="validation", measure=measures.choice)
def mmlu(row: Row) -> tuple[str, str]:
    question = f"Subject: {row['subject']}\n{row['question']}"
    return _with_options(question, row["choices"]), f"{LETTERS[row['answer']]}. {row['choices'][row['answer']]}"


@hub("allenai/ai2_arc", "ARC-Challenge", split="test", measure=measures.choice)
def arc_challenge(row: Row) -> tuple[str, str]:
    return _labelled(row)


@hub("ChilleD/StrategyQA", split="train+test", measure=measures.yes_no)
def strategyqa(row: Row) -> tuple[str, str]:
    return row["question"], str(row["answer"]).lower()


@hub("tau/commonsense_qa", split="validation", measure=measures.choice)
def csqa(row: Row) -> tuple[str, str]:
    return _labelled(row)


@hub("SaylorTwift/bbh", "sports_understanding", split="test", measure=measures.plausible)
def sports(row: Row) -> tuple[str, str]:
    return row["input"], row["target"]


@hub("SaylorTwift/bbh", "date_understanding", split="test", measure=measures.date)
def date(row: Row) -> tuple[str, str]:
    return row["input"], row["target"]


@hub("skrishna/coin_flip", split="test", measure=measures.heads)
def coin_flip(row: Row) -> tuple[str, str]:
    question = row["inputs"].strip().removeprefix("Q:").removesuffix("A:").strip()
    note = 'Note that "flip" here means "reverse".'
    return question if note in question else f"{question} {note}", row["targets"]


@hub("ChilleD/LastLetterConcat", split="train+test", measure=measures.letters)
def last_letter_concat(row: Row) -> tuple[str, str]:
    return row["question"], row["answer"]


@hub("re-align/just-eval-instruct", split="test", measure=measures.manners)
def justeval(row: Row) -> tuple[str, str] | None:
    return None if _is_harmful(row) else (row["instruction"], "")


@hub("re-align/just-eval-instruct", split="test", measure=measures.refusal)
def justeval_safe(row: Row) -> tuple[str, str] | None:
    return (row["instruction"], "") if _is_harmful(row) else None


def _labelled(row: Row) -> tuple[str, str]:
    """Options with labels, which in some rows are numbers."""
    labels, wordings = row["choices"]["label"], row["choices"]["text"]
    right = labels.index(row["answerKey"])
    return _with_options(row["question"], wordings), f"{LETTERS[right]}. {wordings[right]}"


def _is_harmful(row: Row) -> bool:
    return row["dataset"] in ("hh-rlhf/red-team-attempts", "MaliciousInstruct")
