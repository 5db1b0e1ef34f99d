"""The questions of a tuning: a user's file, or messages and scores from elsewhere.

Every line of a file is checked before a model is loaded. Error messages name the file, the line and the field.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from nudging.errors import DataError, PromptError, SettingsError
from nudging.evaluation import scoring
from nudging.evaluation.answer_log import AnswerRecord
from nudging.prompting.content import content_text
from nudging.prompting.conversation import Message, check_prompt

Score: TypeAlias = Literal["contains", "exact", "number", "choice", "yes_no"]
"""How an answer is compared with the accepted ones."""

SCORES: tuple[Score, ...] = get_args(Score)

QUESTION_FIELDS = ("question", "prompt", "messages")
ANSWER_FIELDS = ("answer", "answers")

_GROUPED_DIGITS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_ABBREVIATION = re.compile(r"\b(?:[^\W\d_]\.){2,}")
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
"""Scripts without spaces between words, in which a word may stand beside any other character."""


@dataclass(frozen=True)
class Question:
    """A question and the test of an answer to it.

    Args:
        id: A name, for people who read the log of answers.
        messages: The conversation that both models get.
        is_right: Returns True if an answer is right.
    """

    id: str
    messages: Sequence[Message]
    is_right: Callable[[AnswerRecord], bool]

    @property
    def digest(self) -> str:
        """A hash of the messages."""
        return sha256(json.dumps(self.messages, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class _Line:
    """A line of the file that is a JSON object, and its place for error messages."""

    row: Mapping[str, Any]
    where: str
    number: int


def read_questions(path: Path, score: str = "contains", system: str = "") -> tuple[list[Question], int]:
    """Return the questions in a file, and the number of lines that repeat an earlier one.

    Each line is a JSON object with a `question` (or a `prompt`, or `messages`), an `answer`, and optionally an `id` and
    a `system` message. A file may also be one JSON array of such objects.

    Args:
        path: The file, in UTF-8.
        score: How an answer is compared with the accepted ones, one of `SCORES`.
        system: The system message of questions that have none of their own. It may be empty.

    Raises:
        SettingsError: There is no such score.
        DataError: The file cannot be read, has no questions, or a line is malformed.
    """
    if score not in SCORES:
        raise SettingsError(f"there is no score {score!r}: choose from {', '.join(SCORES)}")
    seen: dict[str, tuple[str, object]] = {}
    questions, repeated = [], 0
    for line in _lines(path):
        question, expected = _question(line, score, system)
        where, earlier = seen.setdefault(question.digest, (line.where, expected))
        if earlier != expected:
            raise DataError(
                f"{line.where}: the field 'answer' differs from that of the same question in {where.split(', ')[-1]}: "
                "write the question once, with a list of all accepted answers"
            )
        if where == line.where:
            questions.append(question)
        else:
            repeated += 1
    if not questions:
        raise DataError(f'{path} has no questions: write one per line, as {{"question": "…", "answer": "…"}}')
    return questions, repeated


def _lines(path: Path) -> Iterator[_Line]:
    try:
        text = path.expanduser().read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        number = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {number} is not UTF-8 (at byte {error.start} of the file): save it as UTF-8 text"
        ) from None
    body = text.strip()
    first = body.split("\n", 1)[0]
    if body.startswith("[") and (first == body or not _is_json(first)):
        yield from _array(text, str(path))
        return
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would split at U+2028 within a string
        if line.strip():
            where = f"{path}, line {number}"
            yield _Line(_object(_parsed(line, where), where), where, number)


def _array(text: str, path: str) -> Iterator[_Line]:
    """Yield the objects of a file that is one JSON array."""
    for number, row in enumerate(_parsed(text, path), start=1):
        where = f"{path}, entry {number}"
        yield _Line(_object(row, where), where, number)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} is not JSON ({error}): {text.strip()[:60]}") from None
    except RecursionError:
        raise DataError(f"{where} is nested too deeply: {text.strip()[:60]}") from None


def _object(row: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f'{where} is not a JSON object: {str(row)[:60]!r}; write {{"question": "…", "answer": "…"}}')
    return row


def _question(line: _Line, score: str, system: str) -> tuple[Question, object]:
    """Return the question of a line, and its accepted answers."""
    messages = _messages(line, system)
    asked = content_text(messages[-1]["content"], "user", line.where)
    expected = _expected(line, score)
    compare = _comparison(score, asked)
    for accepted in (one for part in expected for one in part):
        if not compare(accepted, accepted):
            raise DataError(
                f"{line.where}: the field {_name(line, ANSWER_FIELDS)!r} is {accepted[:60]!r}, which can never be "
                f"right by the score {score!r}" + ("; a choice needs its options in the question" * (score == "choice"))
            )

    def is_right(answer: AnswerRecord) -> bool:
        return all(any(compare(answer.text, accepted) for accepted in part) for part in expected)

    name = line.row.get("id")
    return Question(str(name) if name is not None else str(line.number), messages, is_right), expected


def _messages(line: _Line, system: str) -> list[Message]:
    name, own_system = _name(line, QUESTION_FIELDS), line.row.get("system")
    asked = line.row[name]
    if own_system is not None and not isinstance(own_system, str):
        raise DataError(f"{line.where}: the field 'system' is {own_system!r:.60}, not a text")
    if name == "messages":
        if not isinstance(asked, list):
            raise DataError(f"{line.where}: the field 'messages' is {asked!r:.60}, not a list of messages")
        messages = asked
    elif isinstance(asked, str) and asked.strip():
        messages = [{"role": "user", "content": asked}]
    else:
        raise DataError(f"{line.where}: the field {name!r} is {asked!r:.60}, not a text")
    has_system = bool(messages) and isinstance(messages[0], dict) and messages[0].get("role") in ("system", "developer")
    if has_system and own_system is not None:
        raise DataError(
            f"{line.where}: 'messages' begins with a system message, and there is a field 'system': keep one"
        )
    first = "" if has_system else system if own_system is None else own_system
    try:
        checked = check_prompt([*([{"role": "system", "content": first}] if first else []), *messages])
    except PromptError as error:
        raise DataError(f"{line.where}: the field {name!r}: {error}") from None
    assert isinstance(checked, list)  # noqa: S101 (only raw prompts stay as they are)
    if checked[-1]["role"] != "user":
        raise DataError(f"{line.where}: the last of the 'messages' must be the user's, not the {checked[-1]['role']}'s")
    return checked


def _expected(line: _Line, score: str) -> list[list[str]]:
    """Return the parts of the right answer, each as its accepted spellings. One part is the usual case."""
    name = _name(line, ANSWER_FIELDS)
    value = line.row[name]
    if not isinstance(value, list):
        return [[_text(value, line, name, score)]]
    if value and all(isinstance(part, list) for part in value):
        parts = [[_text(one, line, name, score) for one in part] for part in value]
        if all(parts):
            return parts
    elif value:
        return [[_text(one, line, name, score) for one in value]]
    raise DataError(f"{line.where}: the field {name!r} is an empty list: give at least one accepted answer")


def _text(value: object, line: _Line, name: str, score: str) -> str:
    if isinstance(value, bool) and score == "yes_no":
        return "yes" if value else "no"
    if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
        return str(int(value) if value == int(value) else value)
    if isinstance(value, str) and value.strip():
        return value.strip()
    hint = '; write "yes" or "no", or give --score yes_no' if isinstance(value, bool) else ""
    raise DataError(f"{line.where}: the field {name!r} is {value!r:.60}, not a text or a number{hint}")


def _name(line: _Line, names: Sequence[str]) -> str:
    """Return the one of these fields that the line has."""
    given = [name for name in names if line.row.get(name) is not None]
    if len(given) == 1:
        return given[0]
    if given:
        raise DataError(f"{line.where} has the fields {' and '.join(map(repr, given))}: keep one")
    fields = ", ".join(line.row)[:200] or "none"
    raise DataError(f"{line.where}: the field {names[0]!r} is missing; it has the fields {fields}")


def _comparison(score: str, question: str) -> Callable[[str, str], bool]:
    """Return a function that takes an answer's text and an accepted answer, and returns True if the text is right."""
    if score == "choice":
        return lambda text, accepted: scoring.choice(text, accepted, question)
    comparisons: dict[str, Callable[[str, str], bool]] = {
        "contains": contains,
        "exact": lambda text, accepted: plain(text) == plain(accepted),
        "number": scoring.number,
        "yes_no": scoring.yes_no,
    }
    return comparisons[score]


def contains(text: str, accepted: str) -> bool:
    """Return True if a text contains these words, in any case, spacing and punctuation.

    Words count as a whole: "14" does not contain "4". An answer of punctuation alone is compared as it is.
    """
    words = plain(accepted)
    if not words:
        return accepted.strip() in text
    before = "" if re.match(f"[{_UNSPACED}]", words) else rf"(?<![^\W{_UNSPACED}])(?<!\d\.)(?<!-)"
    after = "" if re.search(f"[{_UNSPACED}]$", words) else rf"(?![^\W{_UNSPACED}])(?!\.\d)"
    return re.search(before + re.escape(words) + after, plain(text)) is not None


def plain(text: str) -> str:
    """Return a text in lower case, without punctuation and currency signs, and with single spaces.

    The signs of numbers stay: "-5", "3.14". "1,000" is "1000", and "U.S." is "us".
    """
    text = unicodedata.normalize("NFKC", text).casefold().replace("−", "-")
    text = _GROUPED_DIGITS.sub("", text)
    text = _ABBREVIATION.sub(lambda match: match[0].replace(".", ""), text)
    text = re.sub(r"(?<=\w)['’](?=\w)", "", text)
    kept = [character if _is_kept(text, at) else " " for at, character in enumerate(text)]
    return " ".join("".join(kept).split())


def _is_kept(text: str, at: int) -> bool:
    character, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if character == "." and after.isdigit():
        return before.isdigit()
    if character == "-" and after.isdigit():
        return not before.isalnum()
    return not unicodedata.category(character).startswith("P") and unicodedata.category(character) != "Sc"
