"""Models with real shapes and random weights, to measure forward passes where the real models are not available."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from systems import Pass
from transformers import AutoModelForCausalLM, DynamicCache, LlamaConfig, PreTrainedConfig


@dataclass(frozen=True)
class TorchPass(Pass):
    """One forward pass on torch.

    Args:
        start: Number of tokens in the KV cache before the pass.
        keep: Number of positions at the end whose logits are needed.
    """

    start: int
    keep: int


SHAPES: dict[str, dict[str, Any]] = {
    "8B": {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336, "num_attention_heads": 32},
    "7B": {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 11008, "num_attention_heads": 32},
    "1B": {"hidden_size": 2048, "num_hidden_layers": 16, "intermediate_size": 8192, "num_attention_heads": 32},
    "0.5B": {"hidden_size": 896, "num_hidden_layers": 24, "intermediate_size": 4864, "num_attention_heads": 14},
    "0.1B": {"hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536, "num_attention_heads": 9},
}
"""The shapes of Llama-3-8B, OLMo-7B, OLMo-1B, Qwen2.5-0.5B and SmolLM2-135M, without grouped-query attention."""

VOCABULARY = {"8B": 128256, "7B": 50304, "1B": 50304, "0.5B": 151936, "0.1B": 49152}


class ReplayPair:
    """A pair of random models that repeats the forward passes of another pair."""

    def __init__(self, base: str, nudging: str, dtype: str, device: str) -> None:
        self._device = device
        self._models = {
            author: _model(shape, dtype, device) for author, shape in (("base", base), ("nudging", nudging))
        }

    def seconds(self, passes: Sequence[TorchPass]) -> float:
        """Return the seconds that these passes take."""
        caches = {author: DynamicCache() for author in self._models}
        self._wait()
        started = time.perf_counter()
        with torch.inference_mode():
            for one in passes:
                cache = caches[one.author]
                if (excess := cache.get_seq_length() - one.start) > 0:
                    cache.crop(-excess)
                ids = torch.randint(0, 1000, (1, one.tokens), device=self._device)
                model: Any = self._models[one.author]
                model(input_ids=ids, past_key_values=cache, logits_to_keep=one.keep).logits.argmax(-1).tolist()
        return time.perf_counter() - started

    def base_alone(self, passes: Sequence[TorchPass], tokens: int) -> float:
        """Return the seconds that `generate` of the base model takes for `tokens` tokens after the same prompt."""
        prompt = next(one.tokens for one in passes if one.author == "base")
        ids = torch.randint(0, 1000, (1, prompt), device=self._device)
        self._wait()
        started = time.perf_counter()
        self._models["base"].generate(ids, min_new_tokens=tokens, max_new_tokens=tokens, do_sample=False)
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self._device != "cpu":
            torch.cuda.synchronize()


def _model(shape: str, dtype: str, device: str) -> Any:
    config = LlamaConfig(**SHAPES[shape], vocab_size=VOCABULARY[shape], max_position_embeddings=8192)
    return random_model(config, dtype, device)


def random_model(config: PreTrainedConfig, dtype: str, device: str) -> Any:
    """Return a model with random weights. They are created in their type, because float32 may not fit into memory."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            model: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    finally:
        torch.set_default_dtype(default)
    return model.eval()
