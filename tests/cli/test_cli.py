"""The `nudging` command: its output, errors and exit codes."""

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
from nudging import __version__, cli
from nudging.cli import app
from typer.testing import CliRunner

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."


@pytest.fixture(autouse=True)
def transformers_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the log level of transformers, which other tests read."""
    monkeypatch.setattr(cli.console, "silence_transformers", lambda: None)


def run(*arguments: str, **keywords: str) -> "object":
    return CliRunner().invoke(app, list(arguments), **keywords)


def models(base: Path, nudging: Path) -> list[str]:
    return ["--base-model", str(base), "--nudging-model", str(nudging)]


def test_version_prints_the_version_and_exits() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"nudging {__version__}\n")


def test_ask_uses_the_demo_pair_by_default() -> None:
    result = run("ask", QUESTION)
    assert result.exit_code == 0
    assert result.stdout == f"{ANSWER}\n"
    assert re.search(r"7 tokens · 100% nudged · stop · [\d.]+ tokens/s", result.stderr)


def test_json_prints_the_whole_answer_in_one_line() -> None:
    result = run("ask", QUESTION, "--json")
    answer = json.loads(result.stdout)
    assert answer["text"] == ANSWER
    assert answer["pieces"][0]["author"] == "nudging"
    assert answer["usage"]["completion_tokens"] == 7
    assert result.stdout.count("\n") == 1


def test_ask_reads_the_question_from_standard_input(tiny_base: Path, tiny_nudging: Path) -> None:
    asked = run("ask", "why", "--max-tokens", "5", *models(tiny_base, tiny_nudging))
    read = run("ask", "-", "--max-tokens", "5", *models(tiny_base, tiny_nudging), input="why\n")
    assert read.stdout == asked.stdout


def test_chat_continues_the_conversation_until_the_input_ends(tiny_base: Path, tiny_nudging: Path) -> None:
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
def test_errors_are_messages_on_stderr_with_an_exit_code(arguments: list[str], exit_code: int, message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == exit_code
    assert message in re.sub(r"\s+", " ", result.stderr)
    assert "Traceback" not in result.output


def test_a_chat_from_a_pipe_fails_when_its_context_is_full(tmp_path: Path) -> None:
    from tiny import tiny_gemma, tiny_llama

    short = models(tiny_gemma(tmp_path / "base", context=64), tiny_llama(tmp_path / "nudging", context=64))
    result = run("chat", "--max-tokens", "5", *short, input="why " * 100)
    assert result.exit_code == 1
    assert "a context of 64" in re.sub(r"\s+", " ", result.stderr)


def test_ctrl_c_leaves_a_clean_terminal(pair: tuple[Path, Path]) -> None:
    """In a real terminal the answer streams in two colours, Ctrl-C stops it, and the cursor is visible again."""
    command = [sys.executable, "-m", "nudging", "ask", "Tell me a long story.", *models(*pair)]
    seen, exit_code = interrupted(command, after=b"\x1b[36m")
    assert exit_code == 130
    assert b"\x1b[1;35m" in seen
    assert b"\x1b[36m" in seen
    assert seen.rstrip().endswith(b"interrupted")
    assert seen.count(b"\x1b[?25h") >= seen.count(b"\x1b[?25l")
    assert b"Traceback" not in seen


def test_ctrl_c_keeps_the_columns_of_a_comparison_on_the_screen(tiny_base: Path, tiny_nudging: Path) -> None:
    options = ["--max-tokens", "20000", *models(tiny_base, tiny_nudging)]
    seen, exit_code = interrupted([sys.executable, "-m", "nudging", "compare", "why", *options], after=b"\x1b[36m")
    assert exit_code == 130
    *_, last_drawing = seen.decode(errors="replace").split("gemma alone")
    assert re.search(r"\x1b\[36m.*\d+ tokens · [\d.]+ s.*waiting.*waiting", last_drawing, re.DOTALL)
    assert seen.rstrip().endswith(b"interrupted")
    assert seen.count(b"\x1b[?25h") >= seen.count(b"\x1b[?25l")


def interrupted(command: list[str], after: bytes) -> tuple[bytes, int]:
    """Return what a command writes to a terminal, and its exit code. Ctrl-C is sent once it has written `after`."""
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
            except OSError:  # the command has closed its side of the terminal
                break
        if after in seen and not sent:
            process.send_signal(signal.SIGINT)
            sent = True
    os.close(leader)
    return seen, process.wait(timeout=30)
