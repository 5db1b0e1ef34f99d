"""The check of a model at load: a wrong cache is not used, and what is no decoder is refused."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from families.naive import naive_tokens
from families.small_models import small_folder, small_model, small_tokenizer
from nudging import Nudger, UnsupportedModelError
from nudging.models.local.model import LocalModel
from nudging.models.local.state import LayeredState, NoState, OpaqueState
from transformers import T5Config
from transformers.cache_utils import DynamicLayer
from transformers.models.llama.modeling_llama import LlamaForCausalLM

PROMPT = list(range(40, 60))


def tokens_of(model: LocalModel, count: int = 12) -> list[int]:
    """Return greedy tokens after the prompt, one pass for each."""
    cache, tokens = model.weights.new_cache(), list(PROMPT)
    for _ in range(count):
        tokens.append(cache.extend(tokens[len(cache.tokens) :], 1, lambda logits: int(logits[0].argmax())))
    return tokens[len(PROMPT) :]


def expected_tokens(model: LocalModel, count: int = 12) -> list[int]:
    """Return the tokens of a decoder without a cache."""
    loaded: Any = model.weights.load()
    return naive_tokens(loaded, PROMPT, count).tokens


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings of nudging's own log."""
    return [one.getMessage() for one in caplog.records if one.name == "nudging" and one.levelno >= logging.WARNING]


def shift_keys(patch: pytest.MonkeyPatch) -> None:
    """Let caches return wrong keys from the second pass on."""
    update = DynamicLayer.update

    def wrong(layer: DynamicLayer, keys: torch.Tensor, values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        is_first = layer.get_seq_length() == 0
        all_keys, all_values = update(layer, keys, values, *args, **kwargs)
        return (all_keys if is_first else all_keys.roll(1, dims=-2)), all_values

    patch.setattr(DynamicLayer, "update", wrong)


def crop_too_little(patch: pytest.MonkeyPatch) -> None:
    """Let caches of layers keep one token more than they are told to keep."""
    crop = DynamicLayer.crop
    patch.setattr(DynamicLayer, "crop", lambda layer, change: crop(layer, min(change + 1, 0)))


def test_a_usual_model_has_a_cache_of_layers_and_logs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = LocalModel(small_folder("llama", tmp_path))
    assert isinstance(model.weights.new_state(), LayeredState)
    assert tokens_of(model) == expected_tokens(model)
    assert warnings(caplog) == []


def test_a_model_whose_cache_is_wrong_runs_without_one_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_folder("llama", tmp_path)
    shift_keys(monkeypatch)
    model = LocalModel(folder)
    assert tokens_of(model) == expected_tokens(model)
    assert isinstance(model.weights.new_state(), NoState)
    assert not model.weights.can_batch
    nudger = Nudger(model, LocalModel(folder), max_tokens=8)
    assert nudger.generate("why is the sky blue").text == nudger.generate("why is the sky blue").text
    warning, *others = warnings(caplog)
    assert warning.startswith(f"{model.name} runs without a cache, so every token takes a pass over the whole text (")
    assert "a cache of layers gives other logits than no cache" in warning
    assert warning.endswith("Answers stay right")
    assert len(others) == 1  # of the second model: each is checked once, however often it is used


def test_a_cache_that_cannot_go_back_is_copied_as_a_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_folder("llama", tmp_path)
    crop_too_little(monkeypatch)
    model = LocalModel(folder)
    assert isinstance(model.weights.new_state(), OpaqueState)
    assert tokens_of(model) == expected_tokens(model)
    assert warnings(caplog) == []


def test_a_cache_whose_class_is_not_taken_runs_without_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_folder("llama", tmp_path)
    forward = LlamaForCausalLM.forward

    def refuse(model: Any, input_ids: Any, past_key_values: Any = None, use_cache: Any = None, **kwargs: Any) -> Any:
        if use_cache:
            raise TypeError("no cache, please")
        return forward(model, input_ids, use_cache=False, **kwargs)

    monkeypatch.setattr(LlamaForCausalLM, "forward", refuse)
    model = LocalModel(folder)
    assert isinstance(model.weights.new_state(), NoState)
    assert "a cache of layers fails (TypeError: no cache, please)" in warnings(caplog)[0]
    assert tokens_of(model) == expected_tokens(model)


@pytest.mark.parametrize("model_type", ["bert", "roberta", "xlnet"])
def test_an_encoder_is_refused(model_type: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="it is no left-to-right decoder") as caught:
        LocalModel(small_folder(model_type, tmp_path)).load()
    assert str(caught.value).endswith("Choose a model for text generation")


def test_an_encoder_that_is_made_a_decoder_is_used(tmp_path: Path) -> None:
    model = LocalModel(small_folder("bert", tmp_path, is_decoder=True))
    assert tokens_of(model) == expected_tokens(model)


def test_an_encoder_decoder_is_refused_before_its_weights_are_read(tmp_path: Path) -> None:
    T5Config().save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="t5 is an encoder-decoder, and does not continue a text"):
        LocalModel(tmp_path).load()


def test_a_model_that_cannot_do_without_a_picture_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_folder("llama", tmp_path)

    def needs_a_picture(*args: Any, **kwargs: Any) -> Any:
        raise ValueError("You have to specify pixel_values")

    monkeypatch.setattr(LlamaForCausalLM, "forward", needs_a_picture)
    with pytest.raises(UnsupportedModelError) as caught:
        LocalModel(folder).load()
    assert str(caught.value) == (
        f"{folder} cannot be used for nudging: it does not continue a text alone (ValueError: You have to specify "
        "pixel_values). Choose a model for text generation"
    )


def test_a_checkpoint_without_an_output_layer_is_refused(tmp_path: Path) -> None:
    model = small_model("llama")
    assert model.config.tie_word_embeddings is False
    weights = {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    model.save_pretrained(tmp_path, state_dict=weights)
    small_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="no weights for 1 parts of a LlamaForCausalLM, such as lm_head"):
        LocalModel(tmp_path).load()
