"""Count the answers that differ with hints and without, greedy and sampled with a seed.

    python benchmarks/identity.py
    python benchmarks/identity.py --dtype bfloat16 --base MODEL --nudging MODEL

In float32 no answer may differ. In half precision a pass over many tokens rounds differently from passes over one
token, in every engine. The base model alone shows the size of this effect: it continues each prompt, and then again
with its own continuation as a hint. Every answer starts with empty caches, so that it cannot use tokens of another one.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

from nudging import Nudger
from nudging.models.base import Hint, Model
from nudging.models.local.model import LocalModel
from nudging.request import Options
from pair import add_pair, pair
from rich.console import Console
from rich.progress import track

TEXTS = [path.read_text() for path in sorted(Path(__file__).parents[1].rglob("*.md")) if ".venv" not in path.parts]
DECODING: list[tuple[str, Options]] = [
    ("greedy", {"temperature": 0.0}),
    ("temperature 0.8 with a seed", {"temperature": 0.8, "seed": 1}),
]


def main() -> None:
    arguments = _arguments()
    base, nudging = (LocalModel(name, dtype=arguments.dtype, kept_caches=0) for name in pair(arguments))
    hinted, plain = (Nudger(base, nudging, max_tokens=arguments.max_tokens, hints=hints) for hints in (True, False))
    prompts = passages(arguments.prompts)
    console = Console(width=120)
    for name, options in DECODING:
        answers = [
            (hinted.generate(prompt, **options).text, plain.generate(prompt, **options).text)
            for prompt in track(prompts, name, transient=True)
        ]
        report(console, f"with hints and without, {name}", answers)
    continuations = [
        continuation(base, prompt, arguments.max_tokens) for prompt in track(prompts, "base alone", transient=True)
    ]
    report(console, "base alone, one token per pass and many", continuations)


def passages(number: int) -> list[str]:
    """Return random passages of this project's texts, as prompts that were not chosen by hand."""
    rng, words = random.Random(0), " ".join(TEXTS).split()
    starts = [rng.randrange(len(words)) for _ in range(number)]
    return [" ".join(words[start : start + rng.randint(3, 60)]) for start in starts]


def continuation(model: Model, prompt: str, limit: int) -> tuple[str, str]:
    """Return the model's continuation, and its continuation with the first one as a hint."""

    def text(hint: Hint | None) -> str:
        session = model.session(prompt, author="base")
        written = "".join(step.text for step in session.steps("", limit, hint))
        session.close()
        return written

    without_hint = text(None)
    return without_hint, text(Hint(without_hint))


def report(console: Console, title: str, pairs: Sequence[tuple[str, str]]) -> None:
    different = sum(one != other for one, other in pairs)
    console.print(f"{title}: {different} of {len(pairs)} differ")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_pair(parser)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--prompts", type=int, default=100, help="number of prompts")
    parser.add_argument("--max-tokens", type=int, default=64, help="maximum length of an answer")
    return parser.parse_args()


if __name__ == "__main__":
    main()
