"""The command, as it is typed."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nudging import cli
from nudging.cli import app
from typer.testing import CliRunner

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_hush_transformers", lambda: None)  # it would hush the other tests too


def run(*arguments: str, **keywords: str) -> "object":
    return CliRunner().invoke(app, list(arguments), **keywords)


def models(base: Path, nudging: Path) -> list[str]:
    return ["--base-model", str(base), "--nudging-model", str(nudging)]


def test_ask_answers_on_the_demo_pair_when_no_model_is_named() -> None:
    result = run("ask", QUESTION)
    assert result.exit_code == 0
    assert result.stdout == f"{ANSWER}\n"
    assert re.search(r"7 tokens · 100% nudged · stop · [\d.]+ tokens/s", result.stderr)


def test_json_is_one_line_that_holds_everything() -> None:
    result = run("ask", QUESTION, "--json")
    answer = json.loads(result.stdout)
    assert answer["text"] == ANSWER
    assert answer["pieces"][0]["author"] == "nudging"
    assert answer["usage"]["completion_tokens"] == 7


def test_a_question_can_come_from_standard_input(tiny_base: Path, tiny_nudging: Path) -> None:
    asked = run("ask", "why", "--max-tokens", "5", *models(tiny_base, tiny_nudging))
    read = run("ask", "-", "--max-tokens", "5", *models(tiny_base, tiny_nudging), input="why\n")
    assert read.stdout == asked.stdout


def test_chat_takes_turns_until_the_input_ends(tiny_base: Path, tiny_nudging: Path) -> None:
    options = ["--json", "--max-tokens", "5", *models(tiny_base, tiny_nudging)]
    result = run("chat", *options, input="why is that\nwho says so\n")
    first, second = map(json.loads, result.stdout.splitlines())
    assert result.exit_code == 0
    assert second["usage"]["prompt_tokens"] > first["usage"]["prompt_tokens"] + first["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["ask", "why", "--threshold", "2"], 2, "threshold=2.0"),
        (["ask", "why", "--max-tokens", "0"], 2, "max_tokens=0"),
        (["ask", "why", "--base-model", "/nowhere", "--nudging-model", "/nowhere"], 1, "no folder '/nowhere'"),
        (["ask", "why", "--base-model", "x.gguf", "--nudging-model", "x.gguf"], 1, "no GGUF file 'x.gguf'"),
        (["ask", "", "--base-model", "a/b", "--nudging-model", "a/b"], 1, "the prompt is empty"),
        (["ask"], 2, "Missing argument"),
        (["ask", "why", "--treshold", "0.4"], 2, "No such option"),
        (["sing"], 2, "No such command"),
    ],
)
def test_errors_say_what_was_wrong_and_exit_with_a_code(arguments: list[str], exit_code: int, message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == exit_code
    assert message in re.sub(r"\s+", " ", result.stderr)
    assert "Traceback" not in result.output


def test_a_chat_whose_context_is_full_fails_when_nobody_is_there_to_read_it(tmp_path: Path) -> None:
    from tiny import tiny_gemma, tiny_llama

    short = models(tiny_gemma(tmp_path / "base", context=64), tiny_llama(tmp_path / "nudging", context=64))
    result = run("chat", "--max-tokens", "5", *short, input="why " * 100)
    assert result.exit_code == 1
    assert "a context of 64" in re.sub(r"\s+", " ", result.stderr)


def test_ctrl_c_leaves_a_clean_terminal(pair: tuple[Path, Path]) -> None:
    """In a real terminal: the answer streams in two colours, is stopped, and the cursor is back."""
    command = [sys.executable, "-m", "nudging", "ask", "Tell me a long story.", *models(*pair)]
    seen, exit_code = interrupted(command, after=b"\x1b[36m")
    assert exit_code == 130
    assert b"\x1b[1;35m" in seen
    assert b"\x1b[36m" in seen
    assert seen.rstrip().endswith(b"interrupted")
    assert seen.count(b"\x1b[?25h") >= seen.count(b"\x1b[?25l")
    assert b"Traceback" not in seen


def interrupted(command: list[str], after: bytes) -> tuple[bytes, int]:
    """What a command writes to a terminal, when it gets Ctrl-C after it wrote `after`."""
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color"}
    process = subprocess.Popen(  # noqa: S603
        command, stdin=follower, stdout=follower, stderr=follower, env=environment, start_new_session=True
    )
    os.close(follower)
    seen, sent, deadline = b"", False, time.monotonic() + 120
    while time.monotonic() < deadline:
        if select.select([leader], [], [], 0.2)[0]:
            try:
                seen += os.read(leader, 65536)
            except OSError:  # the terminal's other side is closed
                break
        if after in seen and not sent:
            process.send_signal(signal.SIGINT)
            sent = True
    os.close(leader)
    return seen, process.wait(timeout=30)
