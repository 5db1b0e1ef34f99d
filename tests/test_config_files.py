"""Config files: what they may have, and what is written into them."""

import json
from pathlib import Path
from typing import Any

import pytest
from nudging import Nudger, NudgingError, ScriptedModel, SettingsError
from nudging.config import NudgerConfig, config_values
from nudging.errors import OutputError
from pydantic import SecretStr

MODELS = {"base_model": "a", "nudging_model": "b"}
URL = "http://localhost:8000/v1"
KEY = "sk-very-secret"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pair.json"


def written(file: Path, **values: Any) -> Path:
    file.write_text(json.dumps(values), encoding="utf-8")
    return file


def test_a_file_has_the_arguments_of_a_nudger(file: Path) -> None:
    given = MODELS | {"threshold": 0.3, "stop": ["\n"], "base_url": URL, "timeout": 5, "base_template": "{{ x }}"}
    nudger = Nudger.from_config(written(file, **given))
    assert nudger.settings == Nudger(**MODELS, threshold=0.3, stop=("\n",)).settings
    assert nudger.identity == Nudger.from_config(str(file)).identity == Nudger(**given).identity
    assert NudgerConfig.from_config(file) == NudgerConfig(**given)


def test_options_replace_those_of_the_file(file: Path) -> None:
    written(file, **MODELS, threshold=0.3, max_tokens=9)
    nudger = Nudger.from_config(file, base_model="c", threshold=0.2, max_tokens=None)
    assert nudger.model_names == ("c", "b")
    assert (nudger.settings.threshold, nudger.settings.max_tokens) == (0.2, 9)


def test_the_models_may_be_options(file: Path) -> None:
    written(file, max_tokens=9)
    assert Nudger.from_config(file, base_model="google/gemma-2-2b", nudging_model="b").settings.threshold == 0.3
    scripted = ScriptedModel("Hello")
    assert Nudger.from_config(file, base_model=scripted, nudging_model=scripted).generate("Hi").text == "Hello"
    with pytest.raises(SettingsError, match=r"pair\.json' has no nudging_model: add it"):
        Nudger.from_config(file, base_model="a")


def test_a_byte_order_mark_and_line_breaks_of_windows_are_read(file: Path) -> None:
    file.write_bytes(b'\xef\xbb\xbf{\r\n"base_model": "a", "nudging_model": "b", "seed": null\r\n}')
    assert NudgerConfig.from_config(file) == NudgerConfig(**MODELS)


def test_a_path_may_start_in_the_home_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(file.parent))
    written(file, **MODELS)
    assert Nudger.from_config("~/pair.json").model_names == ("a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"pair\.json' is not JSON \(Expecting value: line 1 column 1"),
        ('{"threshold": 0.3,}', r"pair\.json' is not JSON"),
        ("base_model: a", r"pair\.json' is not JSON"),
        ("[" * 100_000, r"pair\.json' is not JSON"),
        ("[]", r"pair\.json' is JSON, but not an object: write"),
        ('"a"', r"pair\.json' is JSON, but not an object"),
        ('{"thresold": 0.3}', r"pair\.json': there is no setting 'thresold': choose from .*threshold"),
        ('{"streaming": true}', r"pair\.json': there is no setting 'streaming'"),
        ('{"threshold": 2}', r"pair\.json': threshold=2: Input should be less than or equal to 1"),
        ('{"threshold": "0.3"}', r"pair\.json': threshold='0.3': Input should be a valid number"),
        ('{"threshold": null}', r"pair\.json': threshold=None"),
        ('{"threshold": NaN}', r"pair\.json': threshold=nan"),
        ('{"rule": "word", "max_tokens": 0}', r"pair\.json': rule='word': .*; max_tokens=0"),
        ('{"base_model": ""}', r"pair\.json': base_model='': the name is empty"),
        ('{"base_model": 5}', r"pair\.json': base_model=5"),
        ('{"nudging_url": "localhost:8000"}', r"pair\.json': nudging_url='localhost:8000': not the address"),
        (f'{{"base_url": "http://u:{KEY}@h/v1"}}', r"pair\.json': base_url: leave the password out"),
        (f'{{"base_api_key": ["{KEY}"]}}', r"pair\.json': base_api_key"),
        (f'{{"base_api_key": "{KEY}", "stop": [""]}}', r"pair\.json': stop"),
    ],
)
def test_an_error_in_a_file_names_the_file_and_the_field(file: Path, text: str, message: str) -> None:
    file.write_text(text, encoding="utf-8")
    for read in (config_values, Nudger.from_config, NudgerConfig.from_config):
        with pytest.raises(SettingsError, match=message) as raised:
            read(file)
        assert KEY not in str(raised.value)
        assert KEY not in repr(raised.value.__cause__) + repr(raised.value.__context__)


def test_a_file_that_cannot_be_read_raises(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"cannot read the config file '.*none\.json': No such file or directory; give"
    ):
        Nudger.from_config(tmp_path / "none.json")
    with pytest.raises(SettingsError, match="Is a directory"):
        Nudger.from_config(tmp_path)
    (tmp_path / "latin").write_bytes('{"base_model": "ä"}'.encode("latin-1"))
    with pytest.raises(SettingsError, match=r"latin' is not text in UTF-8"):
        Nudger.from_config(tmp_path / "latin")


def test_an_error_in_an_option_does_not_blame_the_file(file: Path) -> None:
    written(file, **MODELS, threshold=0.3)
    for options, message in [({"thresold": 0.2}, "there is no setting 'thresold'"), ({"threshold": 2}, "threshold=2")]:
        with pytest.raises(SettingsError, match=f"^{message}"):
            Nudger.from_config(file, **options)
    with pytest.raises(SettingsError, match="threshold only with the path of a file"):
        Nudger.from_config(NudgerConfig(**MODELS), threshold=0.2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"threshold": 0.4, "max_tokens": 256, "stop": ()}, {}),
        ({"threshold": 0.0, "stop": "x", "seed": 3}, {"threshold": 0.0, "stop": ["x"], "seed": 3}),
        ({"rule": "bet", "bet": 0.1, "end": 0.5}, {"rule": "bet", "bet": 0.1, "end": 0.5}),
        ({"base_model": "google/gemma-2-2b"}, {"base_model": "google/gemma-2-2b", "threshold": 0.3}),
        (
            {"base_model": "google/gemma-2-2b", "threshold": 0.4},
            {"base_model": "google/gemma-2-2b", "threshold": 0.4},
        ),
        ({"base_model": Path("models/a")}, {"base_model": "models/a"}),
        ({"device_map": {"": 0}, "hints": False}, {"device_map": {"": 0}, "hints": False}),
        (
            {"base_url": URL, "base_api_key": SecretStr(KEY), "base_template": "{{ 'ä' }}\n"},
            {"base_url": URL, "base_template": "{{ 'ä' }}\n"},
        ),
    ],
)
def test_the_models_and_what_differs_from_the_defaults_is_written(
    file: Path, options: dict[str, Any], expected: dict[str, Any]
) -> None:
    config = NudgerConfig(**MODELS | options)
    config.write_config(file)
    text = file.read_text(encoding="utf-8")
    assert json.loads(text) == MODELS | expected
    assert list(json.loads(text))[:2] == ["base_model", "nudging_model"]
    assert text.count("\n  ") >= len(MODELS | expected)
    assert KEY not in text
    read = NudgerConfig.from_config(file, base_api_key=config.base_api_key)
    assert Nudger.from_config(read).identity == Nudger.from_config(config).identity
    assert read.settings == config.settings


def test_only_what_can_be_read_again_is_written(file: Path) -> None:
    wrong: list[NudgerConfig] = [
        NudgerConfig(base_model=ScriptedModel("Hello"), nudging_model="b"),
        NudgerConfig(**MODELS, base_url=f"http://u:{KEY}@h/v1"),
        NudgerConfig(**MODELS, device="cpu", device_map="auto"),
        NudgerConfig(**MODELS).model_copy(update={"threshold": 2}),
    ]
    for config, message in zip(
        wrong, ["base_model is a ScriptedModel", "base_url: leave", "exclude each other", "threshold=2"], strict=True
    ):
        with pytest.raises(SettingsError, match=message):
            config.write_config(file)
    assert not file.exists()


def test_a_file_that_cannot_be_written_raises(tmp_path: Path) -> None:
    with pytest.raises(
        OutputError, match=r"cannot write the config file .*: No such file or directory; choose"
    ) as raised:
        NudgerConfig(**MODELS).write_config(tmp_path / "none" / "pair.json")
    assert isinstance(raised.value, NudgingError)
