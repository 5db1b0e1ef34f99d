"""Options that the command line builds from the fields of `NudgerConfig`."""

import json
from typing import Any

import pytest
from nudging.cli import app
from nudging.cli.nudger import make_nudger
from nudging.cli.options import NudgerOptions, nudger_options
from nudging.config import NudgerConfig
from nudging.errors import SettingsError
from nudging.settings import Settings
from typer import Typer
from typer.main import get_command
from typer.testing import CliRunner

COMMANDS = ["ask", "chat", "compare", "serve", "analyze", "eval", "tune", "doctor"]
SETTINGS = {
    "analyze": ["max_tokens"],
    "eval": ["rule", "bet", "end", "lookahead", "max_tokens"],
    "tune": ["lookahead", "max_tokens"],
}
"""The settings of commands that do not use all of them."""

KEY = "sk-1234"


def parsed(*arguments: str, **variables: str) -> NudgerOptions:
    """Return the options that a command with these arguments receives."""
    received: list[NudgerOptions] = []
    command = Typer()

    @command.command()
    @nudger_options()
    def show(options: NudgerOptions) -> None:
        received.append(options)

    result = CliRunner().invoke(command, list(arguments), env=variables)
    assert result.exit_code == 0, result.output
    return received[0]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("field", NudgerConfig.model_fields)
def test_every_field_is_an_option_of_every_command_that_it_matters_for(command: str, field: str) -> None:
    options = {one.name: one for one in get_command(app).commands[command].params}
    if field in Settings.model_fields and field not in SETTINGS.get(command, Settings.model_fields):
        assert field not in options
    else:
        assert f"--{field.replace('_', '-')}" in options[field].opts
        assert options[field].help


def test_all_commands_are_checked_here() -> None:
    assert list(get_command(app).commands) == COMMANDS


def test_without_arguments_the_options_are_the_defaults_of_the_fields() -> None:
    models = {"base_model": "a", "nudging_model": "b"}
    options = parsed()
    assert NudgerConfig(**options | models) == NudgerConfig(**models)
    defaults = {name: options[name] for name in NudgerConfig.model_fields}
    assert NudgerConfig(**defaults | models) == NudgerConfig(**models)
    assert defaults["base_model"] is None


def test_only_given_options_are_passed_on() -> None:
    assert parsed() == {}
    given = parsed("--threshold", "0.4", "--base-model", "a", "--no-hints", NUDGING_BASE_API_KEY=KEY)
    assert set(given) == {"threshold", "base_model", "hints", "base_api_key"}


def test_values_have_the_types_of_the_fields() -> None:
    nudger = make_nudger(
        parsed(
            *("--base-model", "a", "--nudging-model", "b", "--base-url", "http://localhost:1/v1"),
            *("--threshold", "0.3", "--max-tokens", "5", "--seed", "7", "--stop", "one", "--stop", "two", "--logprobs"),
            *("--timeout", "2", "--max-retries", "0", "--no-hints", "--dtype", "float16", "--nudging-device", "cpu"),
        )
    )
    assert nudger.settings == Settings(threshold=0.3, max_tokens=5, seed=7, stop=("one", "two"), logprobs=True)
    assert nudger.hints is False
    base, nudging = nudger.identity["base_model"], nudger.identity["nudging_model"]
    assert (base["name"], base["url"], base["dtype"]) == ("a", "http://localhost:1/v1", "float16")
    assert (nudging["name"], nudging["device"], nudging["dtype"]) == ("b", "cpu", "float16")


def test_a_command_may_have_its_own_option_in_place_of_a_setting() -> None:
    received: list[Any] = []
    command = Typer()

    @command.command()
    @nudger_options(settings=())
    def show(options: NudgerOptions, max_tokens: int = 9) -> None:
        received.extend(["max_tokens" in options, max_tokens])

    CliRunner().invoke(command, ["--max-tokens", "4"])
    assert received == [False, 4]


def test_api_keys_come_from_options_or_the_environment_and_are_never_shown() -> None:
    given = parsed("--base-api-key", KEY, NUDGING_NUDGING_API_KEY=KEY)
    assert [given[f"{author}_api_key"].get_secret_value() for author in ("base", "nudging")] == [KEY, KEY]
    assert KEY not in repr(given)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_the_variables_of_the_api_keys_and_not_the_keys(command: str) -> None:
    variables = {"NUDGING_BASE_API_KEY": KEY, "NUDGING_NUDGING_API_KEY": KEY, "NUDGING_API_KEY": KEY}
    result = CliRunner().invoke(app, [command, "--help"], env=variables | {"COLUMNS": "200"})
    assert "NUDGING_BASE_API_KEY" in result.output
    assert "NUDGING_NUDGING_API_KEY" in result.output
    assert KEY not in result.output


def test_errors_do_not_show_api_keys() -> None:
    options = parsed("--base-model", "a", "--nudging-model", "b", "--base-api-key", KEY, "--threshold", "2")
    with pytest.raises(SettingsError) as caught:
        make_nudger(options)
    assert KEY not in str(caught.value)


def test_a_url_needs_the_name_of_the_model_on_that_server() -> None:
    with pytest.raises(SettingsError, match=r"--nudging-url needs --nudging-model"):
        make_nudger(parsed("--nudging-url", "http://localhost:1/v1"))


def test_the_name_of_a_model_on_a_server_may_end_like_a_gguf_file() -> None:
    server = ("--base-url", "http://localhost:1/v1", "--nudging-url", "http://localhost:2/v1")
    nudger = make_nudger(parsed("--base-model", "a.gguf", "--nudging-model", "b.gguf", *server))
    assert nudger.model_names == ("a.gguf", "b.gguf")


def test_arguments_of_from_pretrained_are_json_and_may_have_a_token() -> None:
    models = ("--base-model", "a", "--nudging-model", "b")
    arguments = json.dumps({"attn_implementation": "eager", "token": KEY})
    nudger = make_nudger(parsed(*models, "--base-model-kwargs", arguments, "--nudging-adapter", "some/lora"))
    base, nudging = nudger.identity["base_model"], nudger.identity["nudging_model"]
    assert base["model_kwargs"] == {"attn_implementation": "eager"}
    assert nudging["adapter"] == "some/lora"
    assert KEY not in repr(vars(nudger))


@pytest.mark.parametrize("wrong", [f'{{"token": "{KEY}"', f"token={KEY}", f'["{KEY}"]', f'{{"dtype": "{KEY}"}}'])
def test_wrong_json_is_one_line_without_the_text(wrong: str) -> None:
    models = ["--base-model", "a", "--nudging-model", "b"]
    result = CliRunner().invoke(app, ["ask", "hello", *models, "--base-model-kwargs", wrong], env={"COLUMNS": "500"})
    assert result.exit_code != 0
    assert "base_model_kwargs: " in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert KEY not in result.output
