"""Count the answers that differ with hints and without, greedy and sampled with a seed.

    python benchmarks/identity.py
    python benchmarks/identity.py --dtype bfloat16 --base MODEL --nudging MODEL
    python benchmarks/identity.py --backend llamacpp --base BASE.gguf --nudging NUDGING.gguf

In float32 on torch no answer may differ. In half precision a pass over many tokens rounds differently from passes over
one token, in every engine. Every answer starts with empty caches, so that it cannot use tokens of another one.

llama.cpp runs quantized weights, which are another model than the float32 ones. Its kernels for them depend on the
number of tokens in a pass, and round differently. So if two tokens are almost tied, the choice may be another one.

The base model alone shows the size of this effect without nudging. It continues each prompt, and then again with its
own continuation as a hint, so that its tokens are fed many at once. And it continues each prompt that was fed in one
pass, and then the same prompt fed token by token; after the prompt, every token takes a pass of its own both times.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

from nudging import Nudger
from nudging.models.base import Hint
from nudging.models.config import Backend, backend_of
from nudging.models.decoding.model import InProcessModel
from nudging.request import Options
from pair import PACKAGES, add_pair, pair
from rich.console import Console
from rich.progress import track

TEXTS = [path.read_text() for path in sorted(Path(__file__).parents[1].rglob("*.md")) if ".venv" not in path.parts]
DECODING: list[tuple[str, Options]] = [
    ("greedy", {"temperature": 0.0}),
    ("temperature 0.8 with a seed", {"temperature": 0.8, "seed": 1}),
]


def main() -> None:
    arguments = _arguments()
    base, nudging = (_model(name, arguments) for name in pair(arguments, arguments.backend))
    hinted, plain = (Nudger(base, nudging, max_tokens=arguments.max_tokens, hints=hints) for hints in (True, False))
    prompts = passages(arguments.prompts)
    console = Console(width=120)
    console.print(f"{base!r} and {nudging!r}")
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
    fed = [
        tuple(tokens_after(base, prompt, size, arguments.max_tokens) for size in (None, 1))
        for prompt in track(prompts, "base alone", transient=True)
    ]
    report(console, "base alone, prompt in one pass and token by token", fed)


def passages(number: int) -> list[str]:
    """Return random passages of this project's texts, as prompts that were not chosen by hand."""
    rng, words = random.Random(0), " ".join(TEXTS).split()
    starts = [rng.randrange(len(words)) for _ in range(number)]
    return [" ".join(words[start : start + rng.randint(3, 60)]) for start in starts]


def continuation(model: InProcessModel, prompt: str, limit: int) -> tuple[str, str]:
    """Return the model's continuation, and its continuation with the first one as a hint."""

    def text(hint: Hint | None) -> str:
        session = model.session(prompt, author="base")
        written = "".join(step.text for step in session.steps("", limit, hint))
        session.close()
        return written

    without_hint = text(None)
    return without_hint, text(Hint(without_hint))


def tokens_after(model: InProcessModel, prompt: str, size: int | None, limit: int) -> list[int]:
    """Return the tokens that the model writes greedily after a prompt, each in a pass of its own.

    Args:
        model: The model.
        prompt: The prompt.
        size: Number of the prompt's tokens in a pass. None for all of them.
        limit: Number of tokens to write.
    """
    engine = model.engine
    prompt_tokens = model.tokenizer.encode(prompt, special_tokens=True)
    cache, size = engine.new_cache(), size or len(prompt_tokens)

    def feed(tokens: list[int]) -> int:
        position = len(cache.tokens) + len(tokens)
        return cache.extend(tokens, 1, lambda logits: engine.choose(logits, [position], None))[0].token

    for start in range(0, len(prompt_tokens), size):
        token = feed(prompt_tokens[start : start + size])
    written = [token]
    while len(written) < limit and written[-1] not in engine.end_tokens:
        written.append(feed(written[-1:]))
    return written


def report(console: Console, title: str, pairs: Sequence[Sequence[object]]) -> None:
    different = sum(one != other for one, other in pairs)
    console.print(f"{title}: {different} of {len(pairs)} differ ({different / len(pairs):.0%})")


def _model(name: str, arguments: argparse.Namespace) -> InProcessModel:
    backend: Backend | None = arguments.backend or backend_of(name, None, None)
    if backend == "llamacpp":
        from nudging.models.llamacpp.model import LlamaCppModel

        return LlamaCppModel(name, kept_caches=0)
    from nudging.models.local.model import LocalModel

    return LocalModel(name, dtype=arguments.dtype, kept_caches=0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_pair(parser)
    parser.add_argument(
        "--backend", choices=list(PACKAGES), help="what runs both models; default llamacpp for GGUF files if installed"
    )
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="torch's type of weights")
    parser.add_argument("--prompts", type=int, default=100, help="number of prompts")
    parser.add_argument("--max-tokens", type=int, default=64, help="maximum length of an answer")
    return parser.parse_args()


if __name__ == "__main__":
    main()
