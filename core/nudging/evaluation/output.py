"""Files of results: written as a whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nudging.errors import OutputError


def write_text(path: Path, text: str) -> None:
    """Write a file. After a kill, it is either the old one or the new one.

    Raises:
        OutputError: The file cannot be written.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.part")
        unfinished.write_text(text, encoding="utf-8", errors="replace")
        unfinished.replace(path)


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Raise errors of the file system as `OutputError`, for results beside a log of answers."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}. Every answer is kept in answers.jsonl: free some space "
            "and repeat the command"
        ) from error
