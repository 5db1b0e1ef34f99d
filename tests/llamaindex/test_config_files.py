"""Config files and thresholds of families in the LlamaIndex class."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager
from nudging import Nudger, ScriptedModel, SettingsError
from nudging.settings import SURE_END

from llamaindex_nudging import NudgingLLM
from llamaindex_nudging.llms import DELIMITERS

GEMMA: dict[str, Any] = {"base_model": "google/gemma-2-2b", "nudging_model": "b"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "pair.json").write_text('{"base_model": "a", "nudging_model": "b", "threshold": 0.2}')
    return tmp_path / "pair.json"


def test_an_llm_is_built_from_a_file_and_llamaindexs_own_arguments(file: Path) -> None:
    manager = CallbackManager()
    llm = NudgingLLM.from_config(
        file, callback_manager=manager, system_prompt="Be kind.", context_window=512, max_tokens=9, seed=None
    )
    assert type(llm) is NudgingLLM
    assert (llm.callback_manager, llm.system_prompt, llm.context_window) == (manager, "Be kind.", 512)
    assert (llm.threshold, llm.max_tokens, llm.stop) == (0.2, 9, DELIMITERS)
    assert llm.nudger.identity == Nudger.from_config(file, max_tokens=9, stop=DELIMITERS, end=SURE_END).identity
    scripted = ScriptedModel("Hello there")
    assert (
        NudgingLLM.from_config(file, base_model=scripted, nudging_model=scripted).complete("Hi").text == "Hello there"
    )


def test_wrong_files_raise(file: Path) -> None:
    file.write_text('{"thresold": 0.1}')
    with pytest.raises(SettingsError, match=r"pair\.json': there is no setting 'thresold'"):
        NudgingLLM.from_config(file)
    file.write_text('{"base_model": "a"}')
    with pytest.raises(SettingsError, match=r"pair\.json' has no nudging_model"):
        NudgingLLM.from_config(file)


@pytest.mark.parametrize("stop", [[], ["x"], [*DELIMITERS]])
def test_a_written_file_has_the_stop_strings_for_every_class(file: Path, stop: list[str]) -> None:
    original = NudgingLLM(
        **GEMMA, stop=stop, system_prompt="Be kind.", base_url="http://h/v1", base_api_key="sk-secret"
    )
    original.write_config(file)
    assert json.loads(file.read_text()) == GEMMA | {
        "threshold": 0.3,
        "end": SURE_END,
        "stop": stop,
        "base_url": "http://h/v1",
    }
    assert NudgingLLM.from_config(file).nudger.settings == original.nudger.settings
    assert Nudger.from_config(file).settings == original.nudger.settings


@pytest.mark.parametrize("given", [{}, {"threshold": 0.4}, {"threshold": 0.0}])
@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda llm: llm.model_copy(),
        lambda llm: pickle.loads(pickle.dumps(llm)),  # noqa: S301
        lambda llm: NudgingLLM.from_dict(llm.to_dict()),
        lambda llm: NudgingLLM.from_json(llm.to_json()),
    ],
)
def test_the_threshold_of_a_family_is_shown_and_survives_copies(
    copied: Callable[[NudgingLLM], NudgingLLM], given: dict[str, Any]
) -> None:
    llm = NudgingLLM(**GEMMA, **given)
    assert llm.threshold == given.get("threshold", 0.3)
    assert copied(llm).threshold == llm.threshold
    assert copied(llm).nudger.settings == llm.nudger.settings
    assert copied(llm).nudger.identity == llm.nudger.identity


def test_a_copy_with_another_base_model_has_its_threshold() -> None:
    assert NudgingLLM(**GEMMA).model_copy(update={"base_model": "a"}).threshold == 0.4
    assert NudgingLLM(**GEMMA, threshold=0.3).model_copy(update={"base_model": "a"}).threshold == 0.3
