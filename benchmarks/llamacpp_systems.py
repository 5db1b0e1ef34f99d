"""The systems of `speed.py` on llama.cpp: a plain greedy loop over its C interface, and pairs of `LlamaCppModel`."""

import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from nudging import Nudger, Prompts
from nudging.answer import Author
from nudging.models.llamacpp.library import llama
from nudging.models.llamacpp.model import LlamaCppModel
from nudging.models.llamacpp.weights import Weights
from systems import PROMPTS, Pair, PairBenchmark, Pass, replaced

BATCH = 512
"""Maximum number of tokens of the prompt that the plain loop feeds in one pass: llama.cpp's own default."""

MEMORY_CONTEXT = 2048
"""Length of the context when memory is measured."""


class GreedyLoop:
    """A plain greedy loop over llama.cpp, with a context of its own on weights that are loaded.

    This is what the model does without this project: one pass per token, and an argmax over the logits.

    Args:
        weights: The model.
        n_ctx: Length of the context.
        n_threads: Number of threads of a pass.
    """

    def __init__(self, weights: Weights, n_ctx: int, n_threads: int) -> None:
        self._weights = weights
        params = llama.llama_context_default_params()
        params.n_ctx, params.n_batch, params.no_perf = n_ctx, BATCH, True
        params.n_threads = params.n_threads_batch = n_threads
        self._context: Any = llama.llama_init_from_model(weights.pointer, params)
        if not self._context:
            raise SystemExit(f"llama.cpp has no memory for a context of {n_ctx} tokens: lower --max-tokens")
        weakref.finalize(self, llama.llama_free, self._context)
        self._batch: Any = llama.llama_batch_init(BATCH, 0, 1)
        weakref.finalize(self, llama.llama_batch_free, self._batch)

    def write(self, prompt: Sequence[int], tokens: int) -> tuple[float, float]:
        """Return the seconds until the first and the last of `tokens` tokens."""
        started = time.perf_counter()
        llama.llama_memory_clear(llama.llama_get_memory(self._context), False)
        for start in range(0, len(prompt), BATCH):
            self._feed(prompt[start : start + BATCH], start)
        token = self._best()
        first = time.perf_counter() - started
        for position in range(len(prompt), len(prompt) + tokens - 1):
            self._feed([token], position)
            token = self._best()
        return first, time.perf_counter() - started

    def _feed(self, tokens: Sequence[int], start: int) -> None:
        batch = self._batch
        for index, token in enumerate(tokens):
            batch.token[index], batch.pos[index], batch.logits[index] = token, start + index, index == len(tokens) - 1
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
        batch.n_tokens = len(tokens)
        if code := llama.llama_decode(self._context, batch):
            raise SystemExit(f"llama_decode fails with code {code}")

    def _best(self) -> int:
        logits = np.ctypeslib.as_array(
            llama.llama_get_logits_ith(self._context, -1), (self._weights.vocabulary.size,)
        )  # [vocab]
        return int(logits.argmax())


class LlamaCppBenchmark(PairBenchmark):
    """All systems on llama.cpp."""

    def __init__(self, pair: Pair) -> None:
        base, nudging = models(pair)
        super().__init__(pair, base, nudging)
        self._models = {"base alone": base, "nudging alone": nudging}
        prompts = [self.nudger.prompts(prompt) for several in PROMPTS.values() for prompt in several]
        self._loops: dict[str, GreedyLoop] = {}
        for system, model in self._models.items():
            longest = max(len(self._tokens(system, prompt)) for prompt in prompts)
            self._loops[system] = GreedyLoop(model.engine.load(), longest + pair.max_tokens, pair.threads)
            self._loops[system].write(self._tokens(system, prompts[0]), 2)  # the first pass touches new memory

    def alone(self, system: str, prompts: Prompts, tokens: int) -> tuple[float, float]:
        return self._loops[system].write(self._tokens(system, prompts), tokens)

    @contextmanager
    def recorded_passes(self) -> Iterator[list[Pass]]:
        passes: list[Pass] = []

        def recorded(author: Author, record: Callable[..., None]) -> Callable[..., None]:
            def record_too(tokens: int, seconds: float, sequences: int = 1) -> None:
                passes.append(Pass(author, tokens, seconds))
                record(tokens, seconds, sequences)

            return record_too

        base, nudging = (model.engine.timer for model in self._models.values())
        with (
            replaced(base, "record", recorded("base", base.record)),
            replaced(nudging, "record", recorded("nudging", nudging.record)),
        ):
            yield passes

    def _tokens(self, system: str, prompts: Prompts) -> list[int]:
        return _tokens(self._models[system], system, prompts)


def models(pair: Pair, n_ctx: int | None = None) -> tuple[LlamaCppModel, LlamaCppModel]:
    """Return both models, not loaded yet."""
    base, nudging = (
        LlamaCppModel(name, n_ctx=n_ctx, n_threads=pair.threads, kept_caches=0) for name in (pair.base, pair.nudging)
    )
    return base, nudging


def answer_long_prompt(pair: Pair, system: str) -> None:
    """Let one system answer one long prompt, in a context of `MEMORY_CONTEXT` tokens."""
    base, nudging = models(pair, MEMORY_CONTEXT)
    nudger = Nudger(base, nudging, max_tokens=32, hints=system == "nudged")
    if system.startswith("nudged"):
        nudger.generate(PROMPTS["long context"][0])
    else:
        model = nudging if system == "nudging alone" else base
        prompt = PROMPTS["long context"][0]
        loop = GreedyLoop(model.engine.load(), MEMORY_CONTEXT, pair.threads)
        loop.write(model.tokenizer.encode(prompt, special_tokens=True), 32)


def _tokens(model: LlamaCppModel, system: str, prompts: Prompts) -> list[int]:
    if system == "nudging alone":
        return model.tokenizer.encode(prompts.nudging, special_tokens=False)
    return model.tokenizer.encode(prompts.base, special_tokens=True)
