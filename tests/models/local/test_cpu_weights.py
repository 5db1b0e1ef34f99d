"""Weights packed for the CPU give the same logits."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from nudging.models.local.cpu_weights import PackedLinear, can_pack, pack_weights
from nudging.models.local.model import LocalModel
from torch import nn
from transformers import AutoModelForCausalLM

packing = pytest.mark.skipif(not can_pack(), reason="this torch has no oneDNN")


@packing
@pytest.mark.parametrize("tokens", [1, 2, 16, 100])
def test_a_packed_model_gives_the_same_logits(tiny_base: Path, tokens: int) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    packed = deepcopy(model)
    pack_weights(packed)
    ids = torch.arange(tokens)[None] % model.config.vocab_size
    with torch.inference_mode():
        torch.testing.assert_close(packed(input_ids=ids).logits, model(input_ids=ids).logits, atol=1e-4, rtol=1e-4)


@packing
def test_a_tied_last_layer_is_packed_and_the_embedding_keeps_its_weight(tiny_nudging: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_nudging, tie_word_embeddings=True)
    pack_weights(model)
    assert isinstance(model.lm_head, PackedLinear)
    assert model.get_input_embeddings().weight.shape == (model.config.vocab_size, model.config.hidden_size)


def test_subclasses_and_other_dtypes_are_not_packed() -> None:
    class Doubled(nn.Linear):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(inputs)

    model = nn.Sequential(Doubled(8, 8), nn.Linear(8, 8, dtype=torch.float64))
    layers = list(model)
    pack_weights(model)
    assert list(model) == layers


@packing
def test_local_models_are_packed(tiny_base: Path) -> None:
    model = LocalModel(tiny_base, device="cpu")
    assert any(isinstance(module, PackedLinear) for module in model.weights.load().modules())
