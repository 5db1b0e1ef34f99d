"""A log of all answers, written as they come. A run that was interrupted continues from it."""

import errno
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from nudging.answer import Answer
from nudging.errors import OutputError


@dataclass(frozen=True)
class AnswerRecord:
    """One answer to one question of a task.

    Args:
        written: Pairs of an author and its text, in order.
        finish_reason: The reason why the answer ended, as in `Answer`. None if there is no answer.
        tokens: The answer's length, in base-model tokens, or in the tokens of the only model that wrote it.
        nudge_ratio: The share of tokens that the nudging model wrote, in [0, 1].
        problem: The reason why there is no answer, or an empty string.
    """

    written: tuple[tuple[str, str], ...] = ()
    finish_reason: str | None = None
    tokens: int = 0
    nudge_ratio: float = 0.0
    problem: str = ""

    @classmethod
    def from_answer(cls, answer: Answer) -> "AnswerRecord":
        """Return the record of an answer."""
        return cls(
            tuple((piece.author, piece.text) for piece in answer.pieces),
            answer.finish_reason,
            answer.usage.completion_tokens,
            answer.nudge_ratio,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AnswerRecord":
        """Return the record that `to_dict` gave. Other keys are ignored."""
        written = tuple((author, text) for author, text in values["written"])
        return cls(**{name: values[name] for name in cls.__dataclass_fields__} | {"written": written})

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain data, for JSON."""
        return asdict(self)

    @property
    def text(self) -> str:
        """The answer's text."""
        return "".join(text for _, text in self.written)

    @property
    def ended(self) -> bool:
        """True if the answer ended by itself."""
        return self.finish_reason == "stop"


class AnswerText(str):
    """The text of an answer with its record. lm-evaluation-harness passes it to the measures as a string."""

    record: AnswerRecord

    @classmethod
    def of(cls, record: AnswerRecord) -> "AnswerText":
        """Return the text of a record."""
        text = cls(record.text)
        text.record = record
        return text

    @property
    def ended(self) -> bool:
        """True if the answer ended by itself."""
        return self.record.ended


class AnswerLog:
    """Entries in a JSON lines file, found by their `key`. An unfinished last line, left by a kill, is removed.

    Args:
        path: The file. It and its folder are created if they do not exist.

    Raises:
        OutputError: The file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)  # unbuffered: each entry is one write
            content = path.read_bytes()
            if unfinished := len(content) - (content.rfind(b"\n") + 1):
                self._file.truncate(len(content) - unfinished)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another folder") from error
        self._entries = {entry["key"]: entry for entry in _entries(content)}

    def find(self, key: str) -> dict[str, Any] | None:
        """Return the entry with this key, or None."""
        return self._entries.get(key)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Append an entry, which has a `key`.

        Raises:
            OutputError: The entry cannot be written. Earlier entries are kept.
        """
        line = json.dumps(entry, ensure_ascii=False).encode(errors="surrogatepass") + b"\n"
        try:
            size = self._file.seek(0, 2)
            if self._file.write(line) != len(line):
                self._file.truncate(size)
                raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise OutputError(
                f"cannot write {self.path}: {error.strerror or error}. All earlier answers are kept: free some space "
                "and repeat the command"
            ) from error
        self._entries[entry["key"]] = dict(entry)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._entries)


def log_key(**values: Any) -> str:
    """Return a key that depends on all of these values and on nothing else."""
    return sha256(json.dumps(values, sort_keys=True, default=str).encode(errors="surrogatepass")).hexdigest()[:32]


def _entries(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("key"), str):
            yield entry
