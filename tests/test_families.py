"""The thresholds of families of base models, and how they survive copies of a configuration."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from nudging import Nudger, ScriptedModel
from nudging.config import NudgerConfig
from nudging.families import family_of


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("meta-llama/Llama-2-7b-hf", "Llama-2"),
        ("models/llama2", "Llama-2"),
        ("TheBloke/Llama-2-7B-GGUF:q4.gguf", "Llama-2"),
        ("meta-llama/Llama-3.2-1B", None),
        ("TinyLlama/TinyLlama-1.1B", None),
        ("codellama/CodeLlama-2", None),
        ("google/gemma-2-2b", "Gemma-2"),
        ("google/gemma-2-27b", "Gemma-2"),
        ("gemma2:9b", "Gemma-2"),
        ("/models/Gemma_2_9B.Q4_K_M.gguf", "Gemma-2"),
        ("C:\\models\\gemma-2-9b\\", "Gemma-2"),
        ("cache/models--google--gemma-2-9b/snapshots/0123abcd", "Gemma-2"),
        ("google/gemma-2b", None),
        ("google/gemma-3-270m", None),
        ("google/gemma-3-4b-pt", None),
        ("google/codegemma-2b", None),
        ("gemma:2b", None),
        ("allenai/OLMo-1B-hf", "OLMo"),
        ("allenai/OLMo-7B-0424-hf", "OLMo"),
        ("allenai/OLMo-1.7-7B-hf", "OLMo"),
        ("olmo.gguf", "OLMo"),
        ("allenai/OLMo-2-0425-1B", None),
        ("allenai/Olmo-3-1025-7B", None),
        ("allenai/Olmo-3.1-32B", None),
        ("allenai/OLMoE-1B-7B-0924", None),
        ("gemma-2/qwen", None),
        ("scripted", None),
        ("", None),
    ],
)
def test_the_name_of_a_model_names_its_family(model: str, family: str | None) -> None:
    found = family_of(model)
    assert (found and found.name) == family


@pytest.mark.parametrize(
    ("model", "threshold"),
    [
        ("meta-llama/Llama-2-70b-hf", 0.4),
        ("google/gemma-2-27b", 0.3),
        ("allenai/OLMo-7B-hf", 0.3),
        ("google/gemma-3-270m", 0.4),
        ("a", 0.4),
    ],
)
def test_the_threshold_is_the_papers_if_it_is_not_given(model: str, threshold: float) -> None:
    nudger = Nudger(model, "b")
    assert nudger.settings.threshold == NudgerConfig(base_model=model, nudging_model="b").threshold == threshold
    assert nudger.identity == Nudger(model, "b", threshold=threshold).identity
    assert Nudger(model, "b", threshold=0.25).settings.threshold == 0.25
    assert Nudger(model, "b", threshold=0.4).settings.threshold == 0.4


def test_the_nudging_model_has_no_say() -> None:
    assert Nudger("a", "google/gemma-2-2b-it").settings.threshold == 0.4


def test_a_model_that_is_given_as_an_object_has_a_name_too() -> None:
    assert Nudger(ScriptedModel("Hello", name="google/gemma-2-2b"), "b").settings.threshold == 0.3
    assert Nudger(ScriptedModel("Hello"), "b").settings.threshold == 0.4


def test_a_copy_with_another_base_model_has_its_threshold_unless_one_was_given() -> None:
    config = NudgerConfig(base_model="google/gemma-2-2b", nudging_model="b")
    assert config.model_copy(update={"base_model": "a"}).threshold == 0.4
    assert config.model_copy(update={"base_model": "allenai/OLMo-1B-hf"}).threshold == 0.3
    assert config.model_copy(update={"threshold": 0.1}).threshold == 0.1
    given = NudgerConfig(base_model="google/gemma-2-2b", nudging_model="b", threshold=0.4)
    assert given.model_copy(update={"base_model": "allenai/OLMo-1B-hf"}).threshold == 0.4
    assert config.model_copy(update={"threshold": 0.1}).model_copy(update={"base_model": "a"}).threshold == 0.1


@pytest.mark.parametrize("given", [{}, {"threshold": 0.4}, {"threshold": 0.0}])
@pytest.mark.parametrize(
    "copied",
    [
        lambda config: config.model_copy(),
        lambda config: config.model_copy(deep=True),
        lambda config: pickle.loads(pickle.dumps(config)),  # noqa: S301
        lambda config: NudgerConfig(**config.model_dump()),
        lambda config: NudgerConfig(**config.model_dump(exclude_unset=True)),
        lambda config: NudgerConfig.model_validate_json(config.model_dump_json()),
    ],
)
def test_a_threshold_survives_round_trips(copied: Callable[[Any], Any], given: dict[str, Any]) -> None:
    config = NudgerConfig(base_model="google/gemma-2-2b", nudging_model="b", **given)
    assert config.threshold == given.get("threshold", 0.3)
    assert copied(config) == config
    assert copied(config).settings == config.settings
