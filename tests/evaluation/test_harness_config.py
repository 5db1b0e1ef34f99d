"""`--model_args config=FILE` of lm-evaluation-harness."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nudging import SettingsError
from nudging.evaluation.harness import NudgingLM


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pair.json"


def written(file: Path, **values: Any) -> str:
    file.write_text(json.dumps({"base_model": "a", "nudging_model": "b"} | values))
    return str(file)


def model(arguments: str, **more: Any) -> NudgingLM:
    return NudgingLM.create_from_arg_string(arguments, {"batch_size": 2, "device": "cpu", **more})


def test_a_file_has_the_arguments_and_those_given_replace_them(file: Path) -> None:
    config = written(file, threshold=0.2, max_tokens=9)
    from_file = model(f"config={config}").nudger
    assert (from_file.model_names, from_file.settings.threshold) == (("a", "b"), 0.2)
    assert from_file.identity["base_model"]["device"] == "cpu"
    replaced = model(f"config={config},threshold=0.5,base_model=c,method=base").nudger
    assert (replaced.model_names, replaced.settings.threshold, replaced.settings.max_tokens) == (("c", "b"), 0.5, 9)


@pytest.mark.parametrize("own", [{"device": "meta"}, {"device_map": "auto"}])
def test_the_device_of_a_file_replaces_the_one_that_lm_eval_names(file: Path, own: dict[str, str]) -> None:
    nudger = model(f"config={written(file, **own)}").nudger
    placed = {"device": None, "device_map": None} | own
    assert {name: nudger.identity["base_model"][name] for name in placed} == placed


def test_wrong_files_raise(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the config file '.*pair\.json'"):
        model(f"config={file}")
    with pytest.raises(SettingsError, match=r"pair\.json': there is no setting 'thresold'"):
        model(f"config={written(file, thresold=1)}")


@pytest.mark.standard
def test_the_command_of_the_harness_names_a_wrong_file(file: Path) -> None:
    command = ["-m", "nudging.evaluation", "--model", "nudging", "--tasks", "nudging_gsm8k"]
    arguments = ["--model_args", f"config={written(file, threshold=2)}"]
    done = subprocess.run([sys.executable, *command, *arguments], capture_output=True, text=True, timeout=250)  # noqa: S603
    assert done.returncode == 1
    assert "pair.json': threshold=2" in done.stderr.splitlines()[-1]
