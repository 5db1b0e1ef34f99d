"""Answers on a GPU: those of the CPU in float32, with hints and without, one at a time and sixteen at once."""

import json
from pathlib import Path

import pytest
import torch
from families.small_models import small_folder
from nudging import Nudger
from nudging.models.local.cpu_weights import PackedLinear
from nudging.models.local.model import LocalModel
from nudging.request import Options

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")

QUESTIONS = ["Hi", "why is the sky blue", "你好 🌍, où est le soleil?", "say " * 12] * 4
DECODING: list[Options] = [{"temperature": 0}, {"temperature": 0.8, "seed": 1}]
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["age"],
}


def new_nudger(base: Path, nudging: Path, device: str, *, hints: bool = True) -> Nudger:
    models = (LocalModel(folder, device=device, dtype="float32") for folder in (base, nudging))
    return Nudger(*models, hints=hints, threshold=0.3, max_tokens=24)


def test_a_model_is_on_the_gpu_by_default_and_not_packed(tiny_base: Path) -> None:
    weights = LocalModel(tiny_base).weights.load()
    assert weights.device.type == "cuda"
    assert not any(isinstance(module, PackedLinear) for module in weights.modules())


@pytest.mark.parametrize("options", DECODING, ids=["greedy", "seeded"])
def test_answers_are_those_of_the_cpu_with_hints_and_without(
    tiny_base: Path, tiny_nudging: Path, options: Options
) -> None:
    on_cpu, on_gpu = (new_nudger(tiny_base, tiny_nudging, device) for device in ("cpu", "cuda"))
    plain = new_nudger(tiny_base, tiny_nudging, "cuda", hints=False)
    for question in QUESTIONS[:4]:
        answer = on_gpu.generate(question, **options)
        assert answer.text == plain.generate(question, **options).text == on_cpu.generate(question, **options).text


@pytest.mark.parametrize("options", DECODING, ids=["greedy", "seeded"])
def test_sixteen_answers_at_once_are_those_of_one_at_a_time(
    tiny_base: Path, tiny_nudging: Path, options: Options
) -> None:
    nudger = new_nudger(tiny_base, tiny_nudging, "cuda")
    expected = [nudger.generate(question, **options).text for question in QUESTIONS]
    assert [one.text for one in nudger.generate_many(QUESTIONS, at_once=16, **options)] == expected
    assert nudger.base_model.weights.can_batch
    assert nudger.nudging_model.weights.can_batch


def test_a_schema_is_followed_and_logprobs_are_those_of_the_cpu(tiny_base: Path, tiny_nudging: Path) -> None:
    on_cpu, on_gpu = (new_nudger(tiny_base, tiny_nudging, device) for device in ("cpu", "cuda"))
    one, other = (nudger.generate("Hi", schema=SCHEMA, logprobs=True) for nudger in (on_cpu, on_gpu))
    assert one.text == other.text
    assert 0 <= json.loads(other.text)["age"] <= 99
    assert one.logprobs
    assert [token.logprob for token in one.logprobs] == pytest.approx(
        [token.logprob for token in other.logprobs or ()], abs=1e-3
    )


def test_recurrent_and_hybrid_models_give_the_answers_of_the_cpu(tmp_path: Path) -> None:
    base, nudging = (small_folder(family, tmp_path / family) for family in ("qwen3_5_text", "mamba2"))
    on_cpu, on_gpu = (new_nudger(base, nudging, device) for device in ("cpu", "cuda"))
    for question in QUESTIONS[:2]:
        assert on_gpu.generate(question).text == on_cpu.generate(question).text
