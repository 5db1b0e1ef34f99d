"""What was answered already: a file to which every answer is added at once, so that nothing is ever answered twice."""

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
class Answered:
    """One answer to one question of a task, and how it was made.

    Args:
        written: Authors and what they wrote, in order.
        finish_reason: As of `Answer`; None if there is no answer.
        tokens: Its length, in tokens of the model that counts them (the base model, if both write).
        nudge_ratio: Share of them that the nudging model wrote.
        problem: Why there is no answer.
    """

    written: tuple[tuple[str, str], ...] = ()
    finish_reason: str | None = None
    tokens: int = 0
    nudge_ratio: float = 0.0
    problem: str = ""

    @classmethod
    def of(cls, answer: Answer) -> "Answered":
        return cls(
            tuple((piece.author, piece.text) for piece in answer.pieces),
            answer.finish_reason,
            answer.usage.completion_tokens,
            answer.nudge_ratio,
        )

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Answered":
        written = tuple((author, text) for author, text in record["written"])
        return cls(**{name: record[name] for name in cls.__dataclass_fields__} | {"written": written})

    def to_record(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.written)

    @property
    def ended(self) -> bool:
        """Whether it came to an end by itself."""
        return self.finish_reason == "stop"


class Written(str):
    """An answer's text, as lm-evaluation-harness passes it to measures, with what else is known of the answer."""

    answered: Answered

    @classmethod
    def by(cls, answered: Answered) -> "Written":
        written = cls(answered.text)
        written.answered = answered
        return written

    @property
    def ended(self) -> bool:
        return self.answered.ended


class Ledger:
    """Records in a file of JSON lines, found by their `key`. A line that a kill left unfinished is dropped.

    Args:
        path: Of the file; its folder is made if need be.

    Raises:
        OutputError: The file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)  # a record is one write: nothing is left in a buffer
            whole = path.read_bytes()
            if torn := len(whole) - (whole.rfind(b"\n") + 1):
                self._file.truncate(len(whole) - torn)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another folder") from error
        self._records = {record["key"]: record for record in _records(whole)}

    def find(self, key: str) -> dict[str, Any] | None:
        """The record with this key, if there is one."""
        return self._records.get(key)

    def add(self, record: Mapping[str, Any]) -> None:
        """Keep a record, which has a `key`, from now on.

        Raises:
            OutputError: It cannot be written. What was kept before is still there.
        """
        line = json.dumps(record, ensure_ascii=False).encode(errors="surrogatepass") + b"\n"
        try:
            size = self._file.seek(0, 2)
            if self._file.write(line) != len(line):
                self._file.truncate(size)
                raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise OutputError(
                f"cannot write {self.path}: {error.strerror or error}. What was answered until now is kept: make room, "
                "and give the same command again"
            ) from error
        self._records[record["key"]] = dict(record)

    def close(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._records)


def key_of(**what: Any) -> str:
    """A key that is the same for the same values, and for no others."""
    return sha256(json.dumps(what, sort_keys=True, default=str).encode(errors="surrogatepass")).hexdigest()[:32]


def _records(whole: bytes) -> Iterator[dict[str, Any]]:
    for line in whole.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("key"), str):
            yield record
