"""The systems that `speed.py` compares: both models of a pair alone, and the pair with hints and without."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nudging import Nudger
from nudging.evaluation import intervals
from nudging.models.local.cpu_weights import pack_weights
from nudging.models.local.model import LocalModel
from shapes import Pass
from transformers import AutoModelForCausalLM, AutoTokenizer

DOCUMENT = (Path(__file__).parents[1] / "docs" / "rule.md").read_text()
CODE = Path(intervals.__file__).read_text()

PROMPTS = {
    "short question": (
        "What are three tips for staying healthy?",
        "Why is the sky blue during the day and red in the evening?",
        "How do I boil an egg?",
    ),
    "long context": (
        f"{DOCUMENT}\n\nWhat happens to the base model's end-of-text token? Quote the text.",
        f"{DOCUMENT}\n\nCopy the section about loop guards word by word.",
    ),
    "code": (
        "Write a Python function that checks whether a string is a palindrome, with tests.",
        f"{CODE}\n\nWrite this Python module again, with the names of its functions in Spanish.",
    ),
}

TOPICS = (
    *("bees", "bread", "chess", "clouds", "coffee", "cotton", "ferns", "glass"),
    *("gravity", "iron", "maps", "mountains", "music", "paper", "rivers", "salt"),
)
"""Topics of the questions for the throughput."""

SYSTEMS = ("base alone", "base alone, packed", "nudging alone", "nudged, no hints", "nudged")


@dataclass(frozen=True)
class Run:
    """One answer of one system.

    Args:
        kind: A kind of prompt, a key of `PROMPTS`.
        prompt: The index of the prompt.
        system: One of `SYSTEMS`.
        tokens: Length of the answer, in the model's tokens; for a pair in base-model tokens.
        first: Seconds until the first text.
        total: Seconds until the last text.
        outside: Seconds without a running forward pass, or None if not measured.
        base_passes: Number of the base model's forward passes, or None if not measured.
        base_fed: Number of tokens fed in them.
        nudging_passes: Number of the nudging model's forward passes.
        nudging_fed: Number of tokens fed in them.
    """

    kind: str
    prompt: int
    system: str
    tokens: int
    first: float
    total: float
    outside: float | None = None
    base_passes: int | None = None
    base_fed: int | None = None
    nudging_passes: int | None = None
    nudging_fed: int | None = None


class TransformersModel:
    """A model that transformers' `generate` runs."""

    def __init__(self, name: str, dtype: torch.dtype, device: str, weights: Any = None) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(name)
        weights = weights or AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
        self.weights = weights.to(device)

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


class Benchmark:
    """All systems on one pair."""

    def __init__(self, base: str, nudging: str, dtype: str, device: str, max_tokens: int) -> None:
        models = [LocalModel(name, dtype=dtype, device=device, kept_caches=0) for name in (base, nudging)]
        self.nudger = Nudger(*models, max_tokens=max_tokens)
        self.nudger.load()
        self.plain = Nudger(*models, max_tokens=max_tokens, hints=False)
        self.pair_weights = [model.weights for model in models]
        kind = getattr(torch, dtype)
        self.base, self.nudging = (TransformersModel(name, kind, device) for name in (base, nudging))
        packed = models[0].weights.load()  # shared with the pair, to save memory
        self.packed = TransformersModel(base, kind, device, packed) if device == "cpu" else None

    @property
    def systems(self) -> list[str]:
        return [system for system in SYSTEMS if self.packed or system != "base alone, packed"]

    def run(self, system: str, kind: str, number: int, tokens: int) -> Run:
        """Return the run of a system on one of the prompts. A model alone writes `tokens` tokens."""
        prompt = PROMPTS[kind][number]
        if system.startswith("nudged"):
            return self.nudged(system, kind, number)[0]
        prompts = self.nudger.prompts(prompt)
        if system == "nudging alone":
            first, total = self.nudging.write(prompts.nudging, tokens, special_tokens=False)
        else:
            base = self.packed if self.packed and system == "base alone, packed" else self.base
            first, total = base.write(prompts.base, tokens, special_tokens=True)
        return Run(kind, number, system, tokens, first, total)

    def nudged(self, system: str, kind: str, number: int) -> tuple[Run, list[Pass]]:
        """Return the run of the pair on one of the prompts, and its forward passes."""
        nudger = self.nudger if system == "nudged" else self.plain
        with self._recorded_passes() as passes, nudger.stream(PROMPTS[kind][number]) as stream:
            started = time.perf_counter()
            next(stream)
            first = time.perf_counter() - started
            for _ in stream:
                pass
            total = time.perf_counter() - started
        usage = stream.answer.usage
        run = Run(
            kind,
            number,
            system,
            usage.completion_tokens,
            first,
            total,
            total - sum(one.seconds for one in passes),
            usage.base.forward_passes,
            usage.base.tokens_fed,
            usage.nudging.forward_passes,
            usage.nudging.tokens_fed,
        )
        return run, passes

    def throughput(self, at_once: int) -> float:
        """Return the tokens per second while `at_once` of sixteen questions are answered at a time."""
        questions = [f"Tell me something about {topic}." for topic in TOPICS]
        started = time.perf_counter()
        answers = self.nudger.generate_many(questions, at_once=at_once)
        return sum(answer.usage.completion_tokens for answer in answers) / (time.perf_counter() - started)

    @contextmanager
    def _recorded_passes(self) -> Iterator[list[Pass]]:
        """Record the forward passes of both models within this context."""
        passes: list[Pass] = []

        def recorded(author: str, forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
            def record(tokens: list[int], cache: Any, keep: int) -> torch.Tensor:
                start, started = cache.get_seq_length(), time.perf_counter()
                logits = forward(tokens, cache, keep)
                passes.append(Pass(author, start, len(tokens), keep, time.perf_counter() - started))
                return logits

            return record

        weights: list[Any] = self.pair_weights
        for author, its in zip(("base", "nudging"), weights, strict=True):
            its.forward = recorded(author, its.forward)
        try:
            yield passes
        finally:
            for its in weights:
                del its.forward


def peak_memory(system: str, base: str, nudging: str, dtype: str, device: str) -> float:
    """Return the peak memory of one answer, in gigabytes. It is that of the whole process, so use a new one."""
    prompt = PROMPTS["long context"][0]
    kind = getattr(torch, dtype)
    if system.startswith("nudged"):
        Nudger(base, nudging, dtype=dtype, device=device, max_tokens=32).generate(prompt)
    elif system == "nudging alone":
        TransformersModel(nudging, kind, device).write(prompt, 32, special_tokens=True)
    else:
        model = TransformersModel(base, kind, device)
        if system == "base alone, packed":
            pack_weights(model.weights)
        model.write(prompt, 32, special_tokens=True)
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 1e9
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1e6
