"""The systems of `speed.py` on torch: transformers' `generate`, and pairs of `LocalModel`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from nudging import Nudger, Prompts
from nudging.answer import Author
from nudging.models.local.cpu_weights import pack_weights
from nudging.models.local.model import LocalModel
from nudging.models.local.state import State
from nudging.models.tokenizer import resolve_path
from shapes import TorchPass
from systems import PROMPTS, Pair, PairBenchmark, Pass, replaced
from transformers import AutoModelForCausalLM, AutoTokenizer


class TransformersModel:
    """A model that transformers' `generate` runs. A GGUF file is converted first.

    Args:
        name: The model.
        dtype: torch's type of the weights.
        device: torch's device.
        weights: The weights, if they are loaded.
    """

    def __init__(self, name: str, dtype: str, device: str, weights: Any = None) -> None:
        path = resolve_path(name)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(path)
        weights = weights or AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype))
        self.weights = weights.to(device)
        torch.backends.cuda.enable_cudnn_sdp(False)  # as in the passes of a local model, see batching.py

    def write(self, prompt: str, tokens: int, special_tokens: bool) -> tuple[float, float]:
        """Return the seconds until the first and the last of `tokens` tokens."""
        ids = self.tokenizer(prompt, return_tensors="pt", add_special_tokens=special_tokens).to(self.weights.device)
        timer = TokenTimer()
        self.weights.generate(**ids, min_new_tokens=tokens, max_new_tokens=tokens, do_sample=False, streamer=timer)
        return timer.first, timer.total


class TokenTimer:
    """A streamer that records the time of each token. transformers puts the prompt first."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        self.times.append(time.perf_counter() - self.started)

    def end(self) -> None:
        self.total = time.perf_counter() - self.started

    @property
    def first(self) -> float:
        return self.times[1]


class TorchBenchmark(PairBenchmark):
    """All systems on torch."""

    def __init__(self, pair: Pair) -> None:
        base, nudging = models(pair)
        super().__init__(pair, base, nudging)
        self._weights: list[Any] = [base.weights, nudging.weights]
        placement = (pair.dtype, pair.device)
        self._alone = {
            "base alone": TransformersModel(pair.base, *placement),
            "nudging alone": TransformersModel(pair.nudging, *placement),
        }
        if pair.is_packed:  # the weights are shared with the pair, to save memory
            self._alone["base alone, packed"] = TransformersModel(pair.base, *placement, base.weights.load())
        for model in self._alone.values():
            model.write("Hello", 2, special_tokens=True)  # the first pass builds kernels

    def alone(self, system: str, prompts: Prompts, tokens: int) -> tuple[float, float]:
        prompt = prompts.nudging if system == "nudging alone" else prompts.base
        return self._alone[system].write(prompt, tokens, special_tokens=system != "nudging alone")

    @contextmanager
    def recorded_passes(self) -> Iterator[list[Pass]]:
        passes: list[Pass] = []

        def recorded(author: Author, forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
            def record(tokens: list[int], state: State, keep: int) -> torch.Tensor:
                start, started = state.length, time.perf_counter()
                logits = forward(tokens, state, keep)
                passes.append(TorchPass(author, len(tokens), time.perf_counter() - started, start, keep))
                return logits

            return record

        base, nudging = self._weights
        with (
            replaced(base, "forward", recorded("base", base.forward)),
            replaced(nudging, "forward", recorded("nudging", nudging.forward)),
        ):
            yield passes


def models(pair: Pair) -> tuple[LocalModel, LocalModel]:
    """Return both models, not loaded yet."""
    base, nudging = (
        LocalModel(name, dtype=pair.dtype, device=pair.device, kept_caches=0) for name in (pair.base, pair.nudging)
    )
    return base, nudging


def answer_long_prompt(pair: Pair, system: str) -> float | None:
    """Let one system answer one long prompt. Return the peak memory of the GPU in gigabytes, None on a CPU."""
    prompt = PROMPTS["long context"][0]
    if system.startswith("nudged"):
        Nudger(*models(pair), max_tokens=32, hints=system == "nudged").generate(prompt)
    else:
        model = TransformersModel(pair.nudging if system == "nudging alone" else pair.base, pair.dtype, pair.device)
        if system == "base alone, packed":
            pack_weights(model.weights)
        model.write(prompt, 32, special_tokens=True)
    return None if pair.device == "cpu" else torch.cuda.max_memory_allocated() / 1e9
