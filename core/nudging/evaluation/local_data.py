"""The questions of a task from a local file, `<task>.jsonl`: one line of JSON per question."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nudging.errors import DataError
from nudging.evaluation import measures
from nudging.evaluation.measures import Document, Measure


def read_documents(task: str, folder: Path, measure: Measure) -> list[dict[str, str]]:
    """Return the questions in a folder's file of a task.

    Args:
        task: The name of the task.
        folder: The folder. Its file of the task is `<task>.jsonl`.
        measure: The measure of the task. An answer that it would never accept is an error.

    Raises:
        DataError: The file does not exist, or a line is not JSON, lacks a field, or has an impossible answer. The
            message names the line.
    """
    path = folder.expanduser() / f"{task}.jsonl"
    documents = [_checked(task, row, f"{path}, line {number}", number, measure) for number, row in _lines(path)]
    if not documents:
        raise DataError(f'{path} has no questions: write one per line, as {{"question": …, "answer": …}}')
    return documents


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"there is no file {path}: leave out its task, or add the file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}; it must be a JSON lines file in UTF-8") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number} is not JSON ({error}): {line.strip()[:60]}") from None


def _checked(task: str, row: Any, where: str, number: int, measure: Measure) -> dict[str, str]:
    is_open_ended = measure in (measures.open_ended, measures.refusal)
    if not isinstance(row, dict):
        raise DataError(f"{where} is not a JSON object: {str(row)[:60]!r}")
    for field in ("question",) if is_open_ended else ("question", "answer"):
        if not isinstance(row.get(field), str) or not row[field].strip():
            problem = f"{row[field]!r}, not a text" if row.get(field) is not None else "missing"
            fields = ", ".join(row) or "none"
            raise DataError(f"{where}: the field {field!r} is {problem}; it has the fields {fields}")
    document = {"id": str(row.get("id") or f"{task}-{number}"), "question": row["question"]}
    document["answer"] = str(row.get("answer") or "")
    if not is_open_ended and not _accepts(measure, document):
        raise DataError(
            f"{where}: the field 'answer' is {document['answer'][:60]!r}, which cannot be the answer to a question of "
            f"{task}"
        )
    return document


def _accepts(measure: Measure, document: Document) -> bool:
    """Return True if the expected answer is right by its own measure."""
    score, *_ = measure(document, [document["answer"]]).values()
    return score > 0
