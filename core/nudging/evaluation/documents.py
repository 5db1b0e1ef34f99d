"""The questions of the thirteen tasks, from the hub or from a folder of local files.

Each function at the end is named after its task. Its decorator says where the task's data set is on the hub, and the
function converts a row of it. The result is a `Source`, which the task file names as its `custom_dataset`:
lm-evaluation-harness's own loader has no way to switch to a local folder at run time. A `Source` reads the folder from
`data` in the task's metadata.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from lm_eval.api.registry import model_registry

from nudging.errors import DataError
from nudging.evaluation import measures
from nudging.evaluation.local_data import read_documents
from nudging.evaluation.measures import Measure

Row: TypeAlias = Mapping[str, Any]
Convert: TypeAlias = Callable[[Row], tuple[str, str] | None]
"""Returns the question and the answer of a row, or None to leave the row out."""

# lm-evaluation-harness has no plugins. It imports this module through the task files, before it looks for its model.
model_registry.register("nudging", target="nudging.evaluation.harness:NudgingLM")

LETTERS = "ABCDEFGHIJ"

TASKS: dict[str, "Source"] = {}
"""The source of each task's questions by the task's name, in the paper's order."""


class Source:
    """The source of a task's questions. Calling it loads them, as lm-evaluation-harness expects of a data set.

    Args:
        task: The name of the task.
        hub: Path, configuration and split of its data set on the hub.
        measure: The measure of the task.
        convert: Converts a row of the data set.
    """

    def __init__(self, task: str, hub: tuple[str, str | None, str], measure: Measure, convert: Convert) -> None:
        self.task, self.hub, self.measure, self.convert = task, hub, measure, convert

    def __call__(self, data: str | None = None, **metadata: Any) -> dict[str, Any]:
        """Return the questions as the split `test`.

        Args:
            data: Folder of local files. None loads from the hub.
            **metadata: The rest of a task's metadata, not used.

        Raises:
            DataError: The questions cannot be loaded, or a field is missing.
        """
        from datasets import Dataset

        documents = read_documents(self.task, Path(data), self.measure) if data else self._from_hub()
        return {"test": Dataset.from_list(documents)}

    def _from_hub(self) -> list[dict[str, str]]:
        from datasets import load_dataset

        path, name, split = self.hub
        try:
            rows = load_dataset(path, name, split=split)
        except Exception as error:  # many kinds: no network, no such file, an HTTP status, a changed data set
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(
                f"cannot get {path} for the task {self.task} from the hub: {reason}. Without a network, give a folder "
                "of local files as data"
            ) from error
        converted = enumerate(map(self.convert, rows))
        return [
            {"id": f"{self.task}-{number}", "question": row[0], "answer": row[1]}
            for number, row in converted
            if row is not None
        ]

    def __repr__(self) -> str:
        return f"the questions of {self.task}, by default {self.hub}"


def hub(path: str, name: str | None = None, *, split: str, measure: Measure) -> Callable[[Convert], Source]:
    """Declare the data set of the task that the decorated function is named after.

    Args:
        path: The data set on the hub.
        name: Its configuration.
        split: Its split.
        measure: The measure of the task.
    """

    def declare(convert: Convert) -> Source:
        name_of_task = convert.__name__
        TASKS[name_of_task] = Source(name_of_task, (path, name, split), measure, convert)
        return TASKS[name_of_task]

    return declare


def _with_options(question: str, wordings: list[str]) -> str:
    return "\n".join([question.strip(), *(f"{LETTERS[at]}. {wording}" for at, wording in enumerate(wordings))])


@hub("openai/gsm8k", "main", split="test", measure=measures.number)
def gsm8k(row: Row) -> tuple[str, str]:
    return row["question"], row["answer"].split("####")[-1].strip()


@hub("ChilleD/SVAMP", split="train+test", measure=measures.number)
def svamp(row: Row) -> tuple[str, str]:
    return f"{row['Body'].strip()} {row['Question'].strip()}", str(row["Answer"])


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


@hub("re-align/just-eval-instruct", split="test", measure=measures.open_ended)
def justeval(row: Row) -> tuple[str, str] | None:
    return None if _is_harmful(row) else (row["instruction"], "")


@hub("re-align/just-eval-instruct", split="test", measure=measures.refusal)
def justeval_safe(row: Row) -> tuple[str, str] | None:
    return (row["instruction"], "") if _is_harmful(row) else None


def _labelled(row: Row) -> tuple[str, str]:
    """Return a row whose options have labels, which are numbers in some rows."""
    labels, wordings = row["choices"]["label"], row["choices"]["text"]
    right = labels.index(row["answerKey"])
    return _with_options(row["question"], wordings), f"{LETTERS[right]}. {wordings[right]}"


def _is_harmful(row: Row) -> bool:
    return row["dataset"] in ("hh-rlhf/red-team-attempts", "MaliciousInstruct")
