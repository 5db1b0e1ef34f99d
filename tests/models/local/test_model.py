"""A local model: prompts, contexts, and models that cannot be loaded."""

from pathlib import Path

import pytest
from nudging import ContextLengthError, ModelNotFoundError, Nudger
from nudging.models.local.model import LocalModel
from tiny import tiny_gemma, tiny_llama

LONG = "the sky is blue and the sun is far away, " * 4


def test_the_base_prompt_gets_a_bos_and_the_nudging_prompt_none(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)
    as_base, as_nudging = (model.session("the sun", author=author).usage() for author in ("base", "nudging"))
    assert as_base.prompt_tokens == as_nudging.prompt_tokens + 1


def test_a_prompt_longer_than_the_context_is_refused_before_the_weights_are_loaded(tmp_path: Path) -> None:
    model = LocalModel(tiny_llama(tmp_path, context=32))
    with pytest.raises(ContextLengthError, match=r"\d+ tokens, and .* has a context of 32"):
        model.session(LONG, author="nudging")
    assert model.weights._loaded is None


def test_an_answer_that_fills_a_context_is_cut_off_there(tmp_path: Path) -> None:
    for base, nudging in [(64, 512), (512, 64)]:
        folder = tmp_path / f"{base}-{nudging}"
        models = tiny_gemma(folder / "base", context=base), tiny_llama(folder / "nudging", context=nudging)
        nudger = Nudger(*models, threshold=0.1, max_tokens=500)
        answer = nudger.generate("why is the sky blue")
        assert answer.finish_reason in {"length", "loop"}
        assert answer.text


# models that cannot be loaded


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no folder .*nowhere"):
        LocalModel(tmp_path / "nowhere").session("the sun", author="base")


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="cannot load"):
        LocalModel(tmp_path).session("the sun", author="base")


def test_a_model_that_the_hub_does_not_have_is_named() -> None:
    with pytest.raises(ModelNotFoundError, match="no-such-model"):
        LocalModel("nobody/no-such-model").session("the sun", author="base")
