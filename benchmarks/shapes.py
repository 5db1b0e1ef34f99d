"""Models of real shapes and random weights, for what forward passes take where the real ones are not at hand."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM


@dataclass(frozen=True)
class Pass:
    """One forward pass.

    Args:
        author: Whose: the base model's or the nudging model's.
        start: Tokens in the KV cache before it.
        tokens: New tokens.
        keep: After how many of them, the last ones, logits were wanted.
        seconds: How long it took.
    """

    author: str
    start: int
    tokens: int
    keep: int
    seconds: float


SHAPES: dict[str, dict[str, Any]] = {
    "8B": {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336, "num_attention_heads": 32},
    "7B": {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 11008, "num_attention_heads": 32},
    "1B": {"hidden_size": 2048, "num_hidden_layers": 16, "intermediate_size": 8192, "num_attention_heads": 32},
    "0.5B": {"hidden_size": 896, "num_hidden_layers": 24, "intermediate_size": 4864, "num_attention_heads": 14},
    "0.1B": {"hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536, "num_attention_heads": 9},
}
"""Of Llama-3-8B, OLMo-7B, OLMo-1B, Qwen2.5-0.5B and SmolLM2-135M, without their grouped heads."""

VOCABULARY = {"8B": 128256, "7B": 50304, "1B": 50304, "0.5B": 151936, "0.1B": 49152}


class Replayed:
    """A pair of such models that repeats the passes of another pair."""

    def __init__(self, base: str, nudging: str, dtype: str, device: str) -> None:
        self._device = device
        self._models = {
            author: _model(shape, dtype, device) for author, shape in (("base", base), ("nudging", nudging))
        }

    def seconds(self, passes: Sequence[Pass]) -> float:
        """How long they take here."""
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

    def alone(self, passes: Sequence[Pass], tokens: int) -> float:
        """How long the base model takes for so many tokens after the same prompt, through `generate`."""
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
    usual = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))  # made so at once: there may be no room for it in float32
    try:
        with torch.device(device):
            model: Any = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(usual)
    return model.eval()
