"""The systems that `speed.py` compares: both models of a pair alone, and the pair with hints and without.

Each backend has a module with its own `PairBenchmark`: `llamacpp_systems.py` and `torch_systems.py`. This one imports
neither torch nor llama.cpp.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from nudging import Nudger, Prompts
from nudging.answer import Author
from nudging.evaluation import intervals
from nudging.models.config import Backend
from nudging.models.decoding.model import InProcessModel
from nudging.settings import SettingsOptions
from setting import Setting

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
class Pair:
    """A pair, and how it is run.

    Args:
        backend: What runs both models.
        base: Name of the base model.
        nudging: Name of the nudging model.
        max_tokens: Maximum length of an answer.
        dtype: torch's type of the weights.
        device: torch's device.
        threads: Number of threads of llama.cpp.
        settings: Further settings of nudging, beside the paper's rule.
    """

    backend: Backend
    base: str
    nudging: str
    max_tokens: int
    dtype: str
    device: str
    threads: int
    settings: tuple[Setting, ...] = ()

    @property
    def is_packed(self) -> bool:
        """True if the backend packs weights."""
        return self.backend == "transformers" and self.device == "cpu"

    @property
    def systems(self) -> list[str]:
        """Those of `SYSTEMS` that the backend has, and the further settings."""
        known = [system for system in SYSTEMS if self.is_packed or system != "base alone, packed"]
        return known + [setting.label for setting in self.settings]

    def options(self, system: str) -> SettingsOptions:
        """Return the settings of a system. The paper's rule has none."""
        return next((one.options for one in self.settings if one.label == system), SettingsOptions())


@dataclass(frozen=True)
class Pass:
    """One forward pass.

    Args:
        author: The model.
        tokens: Number of new tokens.
        seconds: Duration.
    """

    author: Author
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Run:
    """One answer of one system.

    Args:
        kind: A kind of prompt, a key of `PROMPTS`.
        prompt: The index of the prompt.
        backend: What ran it.
        system: One of `SYSTEMS`, or the label of a setting.
        tokens: Length of the answer, in the model's tokens; for a pair in base-model tokens.
        first: Seconds until the first text.
        first_tokens: Number of tokens in the first text: one for a model alone, several words for a pair.
        total: Seconds until the last text.
        outside: Seconds without a running forward pass, or None if not measured.
        base_passes: Number of the base model's forward passes, or None if not measured.
        base_fed: Number of tokens fed in them.
        base_seconds: Seconds that they took.
        nudging_passes: Number of the nudging model's forward passes.
        nudging_fed: Number of tokens fed in them.
        nudging_seconds: Seconds that they took.
    """

    kind: str
    prompt: int
    backend: Backend
    system: str
    tokens: int
    first: float
    first_tokens: int
    total: float
    outside: float | None = None
    base_passes: int | None = None
    base_fed: int | None = None
    base_seconds: float | None = None
    nudging_passes: int | None = None
    nudging_fed: int | None = None
    nudging_seconds: float | None = None


class PairBenchmark(ABC):
    """All systems of one backend on one pair. Every answer starts with empty caches.

    Args:
        pair: The pair.
        base: The base model, which keeps no idle caches.
        nudging: The nudging model, which keeps none either.
    """

    def __init__(self, pair: Pair, base: InProcessModel, nudging: InProcessModel) -> None:
        self.pair, self.base, self.nudging = pair, base, nudging
        self.nudger = Nudger(base, nudging, max_tokens=pair.max_tokens)
        self.plain = Nudger(base, nudging, max_tokens=pair.max_tokens, hints=False)
        self.nudger.load()

    @abstractmethod
    def alone(self, system: str, prompts: Prompts, tokens: int) -> tuple[float, float]:
        """Return the seconds until the first and the last of `tokens` tokens that one model writes, greedily."""

    @abstractmethod
    def recorded_passes(self) -> AbstractContextManager[list[Pass]]:
        """Record the forward passes of both models within this context."""

    def run(self, system: str, kind: str, number: int, tokens: int) -> Run:
        """Return the run of a system on one of the prompts. A model alone writes `tokens` tokens."""
        if "alone" not in system:
            return self.nudged(system, kind, number)[0]
        first, total = self.alone(system, self.nudger.prompts(PROMPTS[kind][number]), tokens)
        return Run(kind, number, self.pair.backend, system, tokens, first, 1, total)

    def nudged(self, system: str, kind: str, number: int) -> tuple[Run, list[Pass]]:
        """Return the run of the pair on one of the prompts, and its forward passes."""
        nudger, options = self.plain if system == "nudged, no hints" else self.nudger, self.pair.options(system)
        with self.recorded_passes() as passes, nudger.stream(PROMPTS[kind][number], **options) as stream:
            started = time.perf_counter()
            piece = next(stream, None)
            first = time.perf_counter() - started
            for _ in stream:
                pass
            total = time.perf_counter() - started
        usage = stream.answer.usage
        base, nudging = (sum(one.seconds for one in passes if one.author == author) for author in ("base", "nudging"))
        run = Run(
            kind,
            number,
            self.pair.backend,
            system,
            usage.completion_tokens,
            first,
            len(self.base.tokenizer.encode(piece.text if piece else "", special_tokens=False)),
            total,
            total - base - nudging,
            usage.base.forward_passes,
            usage.base.tokens_fed,
            base,
            usage.nudging.forward_passes,
            usage.nudging.tokens_fed,
            nudging,
        )
        return run, passes

    def throughput(self, at_once: int) -> float:
        """Return the tokens per second while `at_once` of sixteen questions are answered at a time."""
        questions = [f"Tell me something about {topic}." for topic in TOPICS]
        started = time.perf_counter()
        answers = self.nudger.generate_many(questions, at_once=at_once)
        return sum(answer.usage.completion_tokens for answer in answers) / (time.perf_counter() - started)


@contextmanager
def replaced(target: object, name: str, replacement: Callable[..., object]) -> Iterator[None]:
    """Replace a method of one object within this context."""
    setattr(target, name, replacement)
    try:
        yield
    finally:
        delattr(target, name)


def benchmark_of(pair: Pair) -> PairBenchmark:
    """Return the systems of a pair, with its weights loaded."""
    if pair.backend == "llamacpp":
        from llamacpp_systems import LlamaCppBenchmark

        return LlamaCppBenchmark(pair)
    from torch_systems import TorchBenchmark

    return TorchBenchmark(pair)
