"""`nudging doctor`: its lines, its JSON and its exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from nudging import cli
from nudging.cli import app
from nudging.diagnosis import Finding
from typer.testing import CliRunner, Result

MACHINE = [
    *("nudging", "processor", "packages", "extras", "transformers", "llama.cpp", "servers", "memory", "cache"),
    "demo pair",
]


@pytest.fixture(autouse=True)
def transformers_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the log level of transformers, which other tests read."""
    monkeypatch.setattr(cli.doctor, "silence_transformers", lambda: None)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments])


def test_ten_lines_describe_the_machine() -> None:
    result = run()
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line[6:19].strip() for line in lines] == MACHINE
    assert all(line.startswith(("ok    ", "note  ")) for line in lines)


def test_a_pair_that_can_answer_adds_ten_lines(tiny_base: Path, tiny_nudging: Path) -> None:
    result = run("--base-model", str(tiny_base), "--nudging-model", str(tiny_nudging))
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 20


def test_json_has_the_same_lines_and_a_verdict(tiny_base: Path) -> None:
    result = run("--json", "--base-model", str(tiny_base), "--nudging-model", "/nowhere")
    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert report["ok"] is False
    by_name = {one["name"]: one for one in report["findings"]}
    assert by_name["base model"]["data"]["runs_on"] == "transformers on cpu"
    assert by_name["nudging model"]["status"] == "fail"
    assert "no folder '/nowhere'" in by_name["nudging model"]["text"]


def test_options_may_come_from_a_file(tmp_path: Path, tiny_base: Path, tiny_nudging: Path) -> None:
    file = tmp_path / "pair.json"
    file.write_text(json.dumps({"base_model": str(tiny_base), "nudging_model": str(tiny_nudging), "threshold": 0.25}))
    result = run("--config", str(file))
    assert result.exit_code == 0
    assert "0.25 (given)" in result.stdout


def test_neither_keys_nor_the_home_folder_are_printed(
    tmp_path: Path, tiny_nudging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").symlink_to(tiny_nudging)
    secrets = ["sk-12345", "token=67890"]
    result = run(
        *("--base-model", "a", "--base-url", f"http://localhost:1/v1?{secrets[1]}", "--base-api-key", secrets[0]),
        *("--nudging-model", str(tmp_path / "model")),
    )
    assert not [secret for secret in [*secrets, str(tmp_path)] if secret in result.output]
    assert "~/model is a folder" in result.stdout


def test_a_finding_is_one_line_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    finding = Finding("fail", "x", "see /home/ada/a,\n  /home/adam and KEY", {"place": "/home/ada/a", "size": 1})
    shown = finding.without({"KEY", ""})
    assert shown.text == "see ~/a, /home/adam and …"
    assert shown.data == {"place": "~/a", "size": 1}


ABSENT = ("torch", "transformers", "llama_cpp", "openai", "tenacity", "psutil", "filelock", "huggingface_hub", "numpy")


def without_packages(*arguments: str, absent: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process that does not find these packages."""
    code = (
        "import importlib.abc, sys\n"
        "class Hidden(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name.split('.')[0] in {absent}: raise ModuleNotFoundError(f'no {{name}}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *rest: None if name in {absent} else find(name, *rest)\n"
        "from nudging.cli import app\n"
        f"app(['doctor', *{list(arguments)}])\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603


def test_without_any_backend_each_line_says_what_to_install() -> None:
    done = without_packages("--base-model", "a/b", "--nudging-model", "chat.gguf", absent=ABSENT)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for line in ("transformers", "llama.cpp", "servers", "base model", "nudging model"):
        found = next(text for text in done.stdout.splitlines() if text[6:].startswith(line))
        assert found.startswith("fail")
        assert "nudging" in found


@pytest.mark.parametrize(("absent", "left"), [("torch", "llama.cpp"), ("llama_cpp", "transformers")])
def test_one_backend_is_enough(absent: str, left: str) -> None:
    done = without_packages(absent=(absent,))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {line[6:18].strip(): line for line in done.stdout.splitlines()}
    assert lines[left].startswith("ok")
    missing = "transformers" if left == "llama.cpp" else "llama.cpp"
    assert lines[missing].startswith("note")
    assert "not installed: pip install 'nudging[" in lines[missing]
