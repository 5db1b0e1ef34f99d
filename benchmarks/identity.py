"""Does a hint change an answer? The same prompts with hints and without, greedily and drawn with a seed.

    python benchmarks/identity.py
    python benchmarks/identity.py --dtype bfloat16 --base MODEL --nudging MODEL

In float32 no answer may differ. In half precision a pass over many tokens rounds differently from passes over one, in
every engine; what that comes to is told by the base model alone, whose own continuations are given to it as hints.
Every answer begins with empty caches: what another one left there would be found again whatever the hints.
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
WAYS: list[tuple[str, Options]] = [
    ("greedy", {"temperature": 0.0}),
    ("temperature 0.8, seeded", {"temperature": 0.8, "seed": 1}),
]


def main() -> None:
    arguments = _arguments()
    base, nudging = (LocalModel(name, dtype=arguments.dtype, kept_caches=0) for name in pair(arguments))
    hinted, plain = (Nudger(base, nudging, max_tokens=arguments.max_tokens, hints=hints) for hints in (True, False))
    prompts = passages(arguments.prompts)
    console = Console(width=120)
    for name, options in WAYS:
        found = [
            (hinted.generate(prompt, **options).text, plain.generate(prompt, **options).text)
            for prompt in track(prompts, name, transient=True)
        ]
        report(console, f"with hints and without, {name}", found)
    found = [continued(base, prompt, arguments.max_tokens) for prompt in track(prompts, "base alone", transient=True)]
    report(console, "base alone, token by token and many at once", found)


def passages(number: int) -> list[str]:
    """Prompts that nobody chose: so many passages of this project's own texts."""
    draw, words = random.Random(0), " ".join(TEXTS).split()
    starts = [draw.randrange(len(words)) for _ in range(number)]
    return [" ".join(words[start : start + draw.randint(3, 60)]) for start in starts]


def continued(model: Model, prompt: str, limit: int) -> tuple[str, str]:
    """What the model writes by itself, and what it writes when it is told of that."""

    def text(hint: Hint | None) -> str:
        session = model.session(prompt, author="base")
        written = "".join(step.text for step in session.steps("", limit, hint))
        session.close()
        return written

    alone = text(None)
    return alone, text(Hint(alone))


def report(console: Console, what: str, found: Sequence[tuple[str, str]]) -> None:
    different = sum(one != other for one, other in found)
    console.print(f"{what}: {different} of {len(found)} differ")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_pair(parser)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--max-tokens", type=int, default=64)
    return parser.parse_args()


if __name__ == "__main__":
    main()
