"""The questions of a tuning: right answers, and odd files."""

import json
from pathlib import Path
from typing import Any

import pytest
from nudging import SettingsError
from nudging.errors import DataError
from nudging.evaluation.answer_log import AnswerRecord
from nudging.evaluation.tune_data import contains, plain, read_questions


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "questions.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def line(**fields: Any) -> str:
    return json.dumps({"question": "Who?", "answer": "Ada"} | fields) + "\n"


def record(text: str) -> AnswerRecord:
    return AnswerRecord((("base", text),), "stop", 1)


# is an answer right?


@pytest.mark.parametrize(
    ("text", "accepted", "right"),
    [
        ("It is Paris.", "paris", True),
        ("New\n  York City!", "new york", True),
        ("the U.S. dollar", "US", True),
        ("Jean-Luc Picard", "jean luc picard", True),
        ("It's Ada's.", "adas", True),
        ("Ada’s", "ada's", True),
        ("1,000 people", "1000", True),
        ("14", "4", False),
        ("3.5 km", "5", False),
        ("3.5 km", "3", False),
        ("3.5 km", "3.5", True),
        ("It is 3.", "3", True),
        ("-5 degrees", "5", False),
        ("−5 degrees", "-5", True),
        ("2019-2020", "2020", True),
        ("It costs $5, or 5%.", "5", True),
        ("in 1,2 or 3", "2", True),
        ("I know.", "no", False),
        ("答えは東京です", "東京", True),
        ("Ｐａｒｉｓ", "paris", True),
        ("STRASSE", "straße", True),
        ("x ?!", "?!", True),
        ("", "a", False),
    ],
)
def test_an_answer_contains_words(text: str, accepted: str, right: bool) -> None:
    assert contains(text, accepted) is right


def test_plain_text_ignores_case_spacing_and_punctuation() -> None:
    assert plain(' "The  Answer"\tis:\n42!') == "the answer is 42"


@pytest.mark.parametrize(
    ("score", "fields", "text", "right"),
    [
        ("contains", {"answer": ["Ada", "Lovelace"]}, "It was lovelace.", True),
        ("contains", {"answer": [["Ada", "A."], ["Lovelace"]]}, "Ada Byron", False),
        ("contains", {"answer": [["Ada", "A."], ["Lovelace"]]}, "A. Lovelace", True),
        ("contains", {"answer": 4}, "There are 4.", True),
        ("contains", {"answer": 4.0}, "There are 4.", True),
        ("contains", {"answers": ["Ada"], "answer": None}, "Ada", True),
        ("exact", {}, " ada. ", True),
        ("exact", {}, "It was Ada.", False),
        ("number", {"answer": 72}, "So 70 and 2 are 72.00.", True),
        ("number", {"answer": "72"}, "72 and 3", False),
        ("choice", {"question": "Which?\nA. one\nB. two", "answer": "B"}, "The answer is two.", True),
        ("yes_no", {"answer": True}, "Yes, it is.", True),
        ("yes_no", {"answer": "no"}, "Yes, it is.", False),
    ],
)
def test_scores(score: str, fields: dict[str, Any], text: str, right: bool, tmp_path: Path) -> None:
    ((question,), _) = read_questions(write(tmp_path, line(**fields)), score)
    assert question.is_right(record(text)) is right


# messages


@pytest.mark.parametrize(
    ("fields", "roles"),
    [
        ({}, ["system", "user"]),
        ({"system": ""}, ["user"]),
        ({"system": "Be brief."}, ["system", "user"]),
        ({"question": None, "prompt": "Who?"}, ["system", "user"]),
        ({"question": None, "messages": [{"role": "user", "content": "Who?"}]}, ["system", "user"]),
        (
            {"question": None, "messages": [{"role": "system", "content": "."}, {"role": "user", "content": "Who?"}]},
            ["system", "user"],
        ),
    ],
)
def test_a_question_may_have_its_own_system_message(fields: dict[str, Any], roles: list[str], tmp_path: Path) -> None:
    ((question,), _) = read_questions(write(tmp_path, line(**fields)), system="Be kind.")
    assert [message["role"] for message in question.messages] == roles
    assert question.messages[-1]["content"] == "Who?"
    if roles[0] == "system":
        assert question.messages[0]["content"] == (
            "Be brief." if "system" in fields else "." if len(fields.get("messages", [])) == 2 else "Be kind."
        )


# odd files

TWO = line(question="Who?") + line(question="And who?", answer="Bo")


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + TWO.encode(),
        TWO.replace("\n", "\r\n"),
        "\n \n" + TWO + "\n\n",
        TWO.rstrip("\n"),
        "[" + TWO.strip().replace("\n", ",") + "]",
        json.dumps([json.loads(one) for one in TWO.splitlines()], indent=2),
        line(extra={"a": [1]}, id=7) + line(question="A\u2028B?", id=None),
        line(question="x" * 3_000_000) + line(),
    ],
    ids=["BOM", "CRLF", "blank lines", "no last line break", "array", "indented array", "more fields", "long line"],
)
def test_odd_files_are_read(content: str | bytes, tmp_path: Path) -> None:
    questions, repeated = read_questions(write(tmp_path, content))
    assert (len(questions), repeated) == (2, 0)


def test_a_repeated_question_counts_once(tmp_path: Path) -> None:
    questions, repeated = read_questions(write(tmp_path, line(id=1) + line(id=2) + line(question="And who?")))
    assert ([one.id for one in questions], repeated) == (["1", "3"], 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"questions\.jsonl has no questions: write one per line"),
        ("\ufeff\n \n", r"has no questions"),
        ("[]", r"has no questions"),
        (line() + '{"question": ', r"line 2 is not JSON \(.*\): \{\"question\":"),
        (line() + "null", r"line 2 is not a JSON object: 'None'"),
        ('["Who?", "Ada"]\n' + line(), r"line 1 is not a JSON object"),
        ('["Who?", "Ada"]', r"entry 1 is not a JSON object: 'Who\?'"),
        ('[\n{"question": "Who?"', r"questions\.jsonl is not JSON \(.*line 2"),
        ("[" * 100_000, r"questions\.jsonl is (not JSON|nested too deeply)"),
        ('{"question": "Who?"}', r"line 1: the field 'answer' is missing; it has the fields question"),
        ('{"answer": "Ada"}', r"line 1: the field 'question' is missing; it has the fields answer"),
        (line(question=" "), r"line 1: the field 'question' is ' ', not a text"),
        (line(question=["Who?"]), r"line 1: the field 'question' is \['Who\?'\], not a text"),
        (line(prompt="Who?"), r"line 1 has the fields 'question' and 'prompt': keep one"),
        (line(answer=""), r"line 1: the field 'answer' is '', not a text or a number"),
        (line(answer=[]), r"line 1: the field 'answer' is an empty list"),
        (line(answer=[["Ada"], []]), r"line 1: the field 'answer' is an empty list"),
        (line(answer=["Ada", None]), r"line 1: the field 'answer' is None, not a text"),
        (line(answer=True), r"line 1: the field 'answer' is True, not a text or a number; write \"yes\" or \"no\""),
        ('{"question": "Who?", "answer": NaN}', r"line 1: the field 'answer' is nan"),
        (line(answer={"text": "Ada"}), r"line 1: the field 'answer' is \{'text': 'Ada'\}"),
        (line(system=7), r"line 1: the field 'system' is 7, not a text"),
        (line() + line(answer="Bo"), r"line 2: the field 'answer' differs from that of the same question in line 1"),
        (line(question=None, messages="Who?"), r"line 1: the field 'messages' is 'Who\?', not a list"),
        (line(question=None, messages=[]), r"line 1: the field 'messages': the prompt is empty"),
        (line(question=None, messages=[{"role": "boss", "content": "x"}]), r"line 1: .*the role 'boss'"),
        (
            line(question=None, messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]),
            r"line 1: the last of the 'messages' must be the user's",
        ),
        (
            line(question=None, system="a", messages=[{"role": "system", "content": "b"}]),
            r"line 1: 'messages' begins with a system message",
        ),
        ('{"question": "\\ud800", "answer": "Ada"}', r"line 1: the field 'question': .*lone surrogate"),
        (line().encode() + b'{"question": "caf\xe9"}', r"line 2 is not UTF-8 \(at byte \d+ of the file\)"),
        (line().encode("utf-16"), r"line 1 is not UTF-8"),
        (None, r"there is no file .*questions\.jsonl"),
    ],
)
def test_errors_name_file_line_and_field(content: str | bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl" if content is None else write(tmp_path, content)
    with pytest.raises(DataError, match=message) as raised:
        read_questions(path)
    assert str(path) in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    ("score", "fields"),
    [("number", {"answer": "many"}), ("choice", {"answer": "B"}), ("yes_no", {"answer": "perhaps"})],
)
def test_an_answer_that_can_never_be_right_is_an_error(score: str, fields: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"line 1: the field 'answer' is .*, which can never be right by .*'{score}'"):
        read_questions(write(tmp_path, line(**fields)), score)


def test_an_unknown_score_and_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no score 'same': choose from contains, exact"):
        read_questions(write(tmp_path, line()), "same")
    with pytest.raises(DataError, match="cannot read"):
        read_questions(tmp_path)
