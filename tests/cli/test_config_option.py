"""`--config`: options from a file, on every command that has the options of a pair."""

import json
from pathlib import Path
from typing import Any

import pytest
from nudging.cli import app
from nudging.cli.nudger import make_nudger
from nudging.cli.options import NudgerOptions, nudger_options
from typer import Typer
from typer.main import get_command
from typer.testing import CliRunner

MODELS = {"base_model": "a", "nudging_model": "b"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pair.json"


def written(file: Path, **values: Any) -> str:
    file.write_text(json.dumps(values))
    return str(file)


def options_of(*arguments: str, settings: tuple[str, ...] | None = None) -> NudgerOptions:
    """Return the options that a command with these arguments receives."""
    received: list[NudgerOptions] = []
    command = Typer()

    @command.command()
    @(nudger_options() if settings is None else nudger_options(settings))
    def show(options: NudgerOptions) -> None:
        received.append(options)

    result = CliRunner().invoke(command, list(arguments))
    assert result.exit_code == 0, result.output
    return received[0]


def test_every_command_with_the_options_of_a_pair_reads_a_file() -> None:
    for command in get_command(app).commands.values():
        options = {one.name: one for one in command.params}
        if "base_model" in options:
            assert options["config"].opts == ["--config"]
            assert options["config"].help


def test_options_on_the_command_line_replace_those_of_the_file(file: Path) -> None:
    config = written(file, **MODELS, threshold=0.2, max_tokens=9, hints=False, stop=["x"])
    nudger = make_nudger(options_of("--config", config))
    assert nudger.model_names == ("a", "b")
    assert (nudger.settings.threshold, nudger.settings.max_tokens, nudger.hints) == (0.2, 9, False)
    assert nudger.settings.stop == ("x",)
    # a value that equals the default is given too
    nudger = make_nudger(
        options_of("--config", config, "--threshold", "0.4", "--hints", "--base-model", "c", "--stop", "y")
    )
    assert nudger.model_names == ("c", "b")
    assert (nudger.settings.threshold, nudger.settings.max_tokens, nudger.hints) == (0.4, 9, True)
    assert nudger.settings.stop == ("y",)


def test_a_file_may_have_settings_that_are_no_options_of_the_command(file: Path) -> None:
    options = options_of("--config", written(file, **MODELS, threshold=0.2, seed=3), settings=("lookahead",))
    assert options == MODELS | {"threshold": 0.2, "seed": 3}
    assert (options["lookahead"], options["max_tokens"]) == (16, 256)


def test_the_threshold_of_a_family_is_used_unless_one_is_given(file: Path) -> None:
    models = ("--base-model", "google/gemma-2-2b", "--nudging-model", "b")
    assert make_nudger(options_of(*models)).settings.threshold == 0.3
    assert make_nudger(options_of(*models, "--threshold", "0.4")).settings.threshold == 0.4
    assert make_nudger(options_of(*models, "--config", written(file, threshold=0.4))).settings.threshold == 0.4


def test_a_converted_model_keeps_the_threshold_of_its_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nudging.cli.nudger.converted_model", lambda model, backend: "converted")
    options = options_of("--base-model", "google/gemma-2-2b-GGUF:q4.gguf", "--nudging-model", "b")
    nudger = make_nudger(options)
    assert nudger.model_names == ("converted", "converted")
    assert nudger.settings.threshold == 0.3


@pytest.mark.parametrize("command", list(get_command(app).commands))
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read the config file"),
        ("{", "is not JSON"),
        ("[1]", "is JSON, but not an object"),
        ('{"thresold": 0.3}', "there is no setting 'thresold'"),
        ('{"threshold": 2, "base_api_key": "sk-1234"}', "threshold=2: Input should be less than or equal to 1"),
    ],
)
def test_a_wrong_file_is_reported_in_one_line(file: Path, command: str, text: str | None, message: str) -> None:
    if text is not None:
        file.write_text(text)
    required = ["why"] if command in ("ask", "compare", "tune") else []
    result = CliRunner().invoke(app, [command, *required, "--config", str(file)])
    assert result.exit_code == 2
    assert "pair.json" in result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert "sk-1234" not in result.output


def test_api_keys_of_a_file_are_not_shown(file: Path) -> None:
    options = options_of("--config", written(file, **MODELS, base_url="http://localhost:1/v1", base_api_key="sk-1234"))
    assert options["base_api_key"].get_secret_value() == "sk-1234"
    assert "sk-1234" not in repr(options)


def test_ask_answers_with_the_pair_of_a_file(file: Path, tiny_base: Path, tiny_nudging: Path) -> None:
    models = {"base_model": str(tiny_base), "nudging_model": str(tiny_nudging)}
    from_file = CliRunner().invoke(
        app, ["ask", "why", "--config", written(file, **models, max_tokens=5, threshold=0.1)]
    )
    assert from_file.exit_code == 0, from_file.output
    given = ["--base-model", str(tiny_base), "--nudging-model", str(tiny_nudging)]
    from_options = CliRunner().invoke(app, ["ask", "why", *given, "--max-tokens", "5", "--threshold", "0.1"])
    assert from_file.stdout == from_options.stdout
