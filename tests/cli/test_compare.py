"""`nudging compare`: three answers to one question, in columns, as JSON and as a picture."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from nudging import Answer, FinishReason, ModelUsage, Nudger, Piece, ScriptedModel, Step, Usage, cli
from nudging.cli import app, compare
from nudging.cli.columns import Column
from nudging.cli.options import NudgerOptions
from typer.testing import CliRunner, Result

QUESTION = "What is the capital of France?"

RAMBLING = ScriptedModel(lambda prompt, text: [Step(" and so on", 1.0)] * 16)
BRIEF = ScriptedModel(lambda prompt, text: [Step("It is", 1.0), Step(" Paris.", 1.0), Step("", 1.0, end=True)])


@pytest.fixture(autouse=True)
def scripted_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a base model that never ends and a nudging model that ends at once behind the command."""
    monkeypatch.setattr(cli.console, "silence_transformers", lambda: None)
    monkeypatch.setattr(
        compare, "make_nudger", lambda options: Nudger(**{**options, "base_model": RAMBLING, "nudging_model": BRIEF})
    )


def run(*arguments: str, **keywords: str) -> Result:
    return CliRunner().invoke(app, ["compare", *arguments], **keywords)


def test_the_answers_of_all_three_are_shown_with_their_endings_and_times() -> None:
    result = run(QUESTION, "--max-tokens", "8")
    assert result.exit_code == 0
    shown = result.stdout
    assert len(re.findall(r"and\s+so\s+on", shown.replace("│", ""))) == 8
    assert re.search(r"8 tokens · cut off · \d+\.\d s", shown)
    assert len(re.findall(r"\d tokens · ended · \d+\.\d s", shown)) == 2
    assert shown.index(QUESTION) < shown.index("and so on") < shown.index("nudged: both together")


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ([], "nudging compare --base-model … --nudging-model … QUESTION"),
        (
            ["--base-model", "a b", "--nudging-model", "c", "--base-url", "http://localhost:1/v1"],
            "nudging tune QUESTIONS.jsonl --base-model 'a b' --base-url http://localhost:1/v1 --nudging-model c",
        ),
    ],
)
def test_the_last_line_names_the_next_command(
    options: list[str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "make_nudger", lambda options: Nudger(RAMBLING, BRIEF))
    monkeypatch.setenv("NUDGING_BASE_API_KEY", "secret-key")
    last = " ".join(run(QUESTION, *options).stdout.split("Next: ")[1].split())
    assert last.endswith(command)
    assert "secret-key" not in last


@pytest.mark.parametrize(
    ("nudged", "reason", "command"), [(1, "stop", "chat"), (3, "stop", "tune"), (1, "loop", "tune")]
)
def test_a_pair_that_ends_and_needs_little_nudging_is_ready_to_chat(
    nudged: int, reason: FinishReason, command: str
) -> None:
    pieces = (Piece("It is", "nudging", nudged, 0), Piece(" Paris.", "base", 9, 0))
    answer = Answer(pieces, reason, Usage(1, 9 + nudged, ModelUsage(), ModelUsage()))
    column = Column("nudged", "nudged", lambda: pytest.fail("it is written already"), answer=answer)
    step = compare._next_step(NudgerOptions(base_model="a", nudging_model="b"), column)
    assert f"nudging {command} " in step
    assert step.endswith("--base-model a --nudging-model b")


def test_json_has_the_three_answers_and_their_times_in_one_line() -> None:
    result = run(QUESTION, "--json", "--max-tokens", "3")
    (line,) = result.stdout.splitlines()
    answers = json.loads(line)
    assert answers["question"] == QUESTION
    assert [answers[name]["finish_reason"] for name in ("base", "nudging", "nudged")] == ["length", "stop", "stop"]
    assert all(answers[name]["seconds"] >= 0 for name in ("base", "nudging", "nudged"))


def test_the_picture_is_an_svg_in_the_colours_of_the_authors_without_links(tmp_path: Path) -> None:
    picture = tmp_path / "answer.svg"
    assert run(QUESTION, "--max-tokens", "4", "--svg", str(picture)).exit_code == 0
    svg = picture.read_text()
    text = "".join(ET.fromstring(svg).itertext()).replace("\xa0", " ")  # noqa: S314 (our own file)
    assert all(part in text for part in (QUESTION, "and so on", "Paris.", "ended"))
    assert "#56d4dd" in svg  # the base model's colour
    assert "#ff77c6" in svg  # the nudging model's
    assert 'url("http' not in svg


def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "make_nudger", lambda options: pytest.fail("a model was loaded"))
    missing = run(QUESTION, "--svg", str(tmp_path / "missing" / "answer.svg"))
    folder = run(QUESTION, "--svg", str(tmp_path))
    assert (missing.exit_code, folder.exit_code) == (2, 2)
    assert "No such file or directory; give another file as --svg" in " ".join(missing.stderr.split())
    assert "is a folder" in folder.stderr


def test_the_question_is_read_from_standard_input() -> None:
    assert json.loads(run("-", "--json", input="Why?\n").stdout)["question"] == "Why?"
