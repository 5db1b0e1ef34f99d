"""Config files and thresholds of families in LangChain's classes."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.load import dumps
from langchain_core.rate_limiters import InMemoryRateLimiter
from nudging import Nudger, ScriptedModel, SettingsError
from nudging.settings import SURE_END

from langchain_nudging import ChatNudging, NudgingLLM

KINDS: list[Any] = [ChatNudging, NudgingLLM]
GEMMA: dict[str, Any] = {"base_model": "google/gemma-2-2b", "nudging_model": "b"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "pair.json").write_text('{"base_model": "a", "nudging_model": "b", "threshold": 0.2, "stop": ["x"]}')
    return tmp_path / "pair.json"


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_built_from_a_file_and_langchains_own_arguments(kind: Any, file: Path) -> None:
    model = kind.from_config(file, tags=["t"], metadata={"a": 1}, cache=False, streaming=True, max_tokens=9, seed=None)
    assert type(model) is kind
    assert (model.tags, model.cache, model.streaming) == (["t"], False, True)
    assert model.metadata["a"] == 1
    assert (model.threshold, model.stop, model.max_tokens) == (0.2, ("x",), 9)
    assert model.nudger.identity == Nudger.from_config(file, max_tokens=9, end=SURE_END).identity
    scripted = ScriptedModel("Hello x")
    answer = kind.from_config(file, base_model=scripted, nudging_model=scripted).invoke("Hi")
    assert (answer if isinstance(answer, str) else answer.text) == "Hello "


def test_a_chat_model_takes_a_rate_limiter_beside_a_file(file: Path) -> None:
    limiter = InMemoryRateLimiter()
    chat = ChatNudging.from_config(file, rate_limiter=limiter, disable_streaming=True, output_version="v0")
    assert (chat.rate_limiter, chat.disable_streaming, chat.output_version) == (limiter, True, "v0")


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_files_raise_and_unknown_options_warn(kind: Any, file: Path) -> None:
    with pytest.warns(UserWarning, match="has no argument 'thresold', it is ignored: did you mean threshold"):
        kind.from_config(file, thresold=0.1)
    file.write_text('{"thresold": 0.1}')
    with pytest.raises(SettingsError, match=r"pair\.json': there is no setting 'thresold'"):
        kind.from_config(file)
    file.write_text('{"base_model": "a"}')
    with pytest.raises(SettingsError, match=r"pair\.json' has no nudging_model"):
        kind.from_config(file)


@pytest.mark.parametrize("kind", KINDS)
def test_a_written_file_has_no_fields_of_langchain_and_no_keys(kind: Any, file: Path) -> None:
    options = {"base_url": "http://localhost:1/v1", "base_api_key": "sk-secret", "tags": ["t"], "streaming": True}
    original = kind(**GEMMA, **options)
    original.write_config(file)
    assert json.loads(file.read_text()) == GEMMA | {
        "threshold": 0.3,
        "end": SURE_END,
        "base_url": "http://localhost:1/v1",
    }
    assert kind.from_config(file).nudger.settings == original.nudger.settings


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", [{}, {"threshold": 0.4}, {"threshold": 0.0}])
@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda model: model.model_copy(deep=True),
        lambda model: pickle.loads(pickle.dumps(model)),  # noqa: S301
        lambda model: type(model)(**model.model_dump()),
    ],
)
def test_the_threshold_of_a_family_is_shown_and_survives_copies(
    kind: Any, copied: Callable[[Any], Any], given: dict[str, float]
) -> None:
    model = kind(**GEMMA, **given)
    expected = given.get("threshold", 0.3)
    assert model.threshold == expected
    assert ("threshold=0.3" in repr(model)) == (not given)
    assert copied(model).threshold == expected
    assert copied(model)._identifying_params == model._identifying_params


@pytest.mark.parametrize("given", [{}, {"threshold": 0.4}, {"threshold": 0.0}])
def test_the_threshold_survives_dumps_and_loads_of_a_class_that_allows_it(given: dict[str, float]) -> None:
    class Saved(ChatNudging):
        @classmethod
        def is_lc_serializable(cls) -> bool:
            return True

    chat = Saved(**GEMMA, **given)
    assert Saved(**json.loads(dumps(chat))["kwargs"]).threshold == chat.threshold


@pytest.mark.parametrize("kind", KINDS)
def test_another_base_model_for_one_call_has_its_own_threshold(kind: Any) -> None:
    nudger, _, _ = kind(**GEMMA)._prepared({"model": "a"})
    assert nudger.settings.threshold == 0.4
    nudger, _, _ = kind(**GEMMA, threshold=0.2)._prepared({"model": "allenai/OLMo-1B-hf"})
    assert nudger.settings.threshold == 0.2
