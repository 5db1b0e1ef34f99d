"""What the answers of the golden transcripts cost, beside the base model alone.

    python benchmarks/transcripts.py

Per case: length, share nudged, forward passes, tokens fed, tokens a second; then the base model alone through
transformers' own `generate`, for as many tokens after the same prompt. Models are loaded before the clock runs; every
case begins with cold caches. Counters hold anywhere; timings are of the machine they were taken on.
"""

import json
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import torch
from nudging import Nudger, Prompts, load_model, unload_models
from nudging.demo import demo_pair
from rich.console import Console
from rich.progress import track
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer

CASES = Path(__file__).parents[1] / "tests" / "golden" / "demo-pair.json"
COLUMNS = ("case", "tokens", "nudged", "base passes", "base fed", "nudging passes", "tokens/s", "base alone, tokens/s")


@dataclass
class Cost:
    """Of one answer, or of several added up."""

    tokens: int = 0
    nudged: float = 0
    base_passes: int = 0
    base_fed: int = 0
    nudging_passes: int = 0
    seconds: float = 0
    base_alone_seconds: float = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))

    def row(self, name: str) -> list[str]:
        per_token = (self.base_passes, self.base_fed, self.nudging_passes)
        speeds = (self.tokens / self.seconds, self.tokens / self.base_alone_seconds)
        return [
            name,
            str(self.tokens),
            f"{self.nudged / self.tokens:.0%}",
            *(f"{count / self.tokens:.2f}/token" for count in per_token),
            *(f"{speed:.1f}" for speed in speeds),
        ]


class BaseAlone:
    """The base model as transformers runs it, greedily."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.weights: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def seconds(self, prompt: str, tokens: int) -> float:
        inputs = self.tokenizer(prompt, return_tensors="pt")
        started = time.perf_counter()
        self.weights.generate(**inputs, min_new_tokens=tokens, max_new_tokens=tokens, do_sample=False)
        return time.perf_counter() - started


def cost(case: dict[str, Any], folders: tuple[Path, Path], base_alone: BaseAlone) -> Cost:
    unload_models()
    nudger = Nudger(*map(load_model, folders))
    nudger.load()
    started = time.perf_counter()
    answer = nudger.generate(Prompts(case["base_prompt"], case["nudge_prompt"]), max_tokens=case["max_tokens"])
    seconds = time.perf_counter() - started
    usage, tokens = answer.usage, answer.usage.completion_tokens
    return Cost(
        tokens,
        answer.nudge_ratio * tokens,
        usage.base.forward_passes,
        usage.base.tokens_fed,
        usage.nudging.forward_passes,
        seconds,
        base_alone.seconds(case["base_prompt"], tokens),
    )


def main() -> None:
    folders = demo_pair()
    base_alone = BaseAlone(folders[0])
    table, total = Table(*COLUMNS), Cost()
    for case in track(json.loads(CASES.read_text()), "answering"):
        one = cost(case, folders, base_alone)
        table.add_row(*one.row(case["id"]))
        total += one
    table.add_section()
    table.add_row(*total.row("all"))
    Console(width=120).print(table, f"{torch.get_num_threads()} threads, float32, torch {torch.__version__}")


if __name__ == "__main__":
    main()
