"""Measure the speed of a pair of any shape on torch, with random weights and the choices of a real pair.

    python benchmarks/play_choices.py record choices.json --base MODEL --nudging MODEL
    python benchmarks/play_choices.py play choices.json --base MODEL --nudging MODEL --device cuda --dtype bfloat16
    python benchmarks/play_choices.py play choices.json --base MODEL --nudging MODEL --shapes 7B+1B --device cuda

The first command records the choices of a pair where its weights are, for the prompts of `speed.py`. The others need
the configs and the tokenizers of the two models, and no weights. See `choices.py`.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from choices import RecordedChoices
from nudging import Nudger
from nudging.models.decoding.timing import PassTimer
from nudging.models.local.loading import LoadingOptions
from nudging.models.tokenizer import resolve_path
from report import tables
from rich.console import Console
from shapes import SHAPES, random_model
from speed import interleaved, throughput
from systems import PROMPTS, TOPICS, Pair, PairBenchmark
from torch_systems import TorchBenchmark, TransformersModel, models
from transformers import GenerationConfig, LlamaConfig, PreTrainedConfig, PreTrainedModel

SECONDS = 0.04
"""The cost of a pass while choices are recorded. It only matters beside the time in which the nudging model drafts."""


class PlayedBenchmark(TorchBenchmark):
    """The systems of a pair with random weights."""

    def __init__(self, pair: Pair) -> None:
        base, nudging = models(pair)
        PairBenchmark.__init__(self, pair, base, nudging)
        self._weights = [base.weights, nudging.weights]
        self._alone = {
            f"{author} alone": TransformersModel(model.name, pair.dtype, pair.device, model.weights.load())
            for author, model in (("base", base), ("nudging", nudging))
        }


def record(arguments: argparse.Namespace) -> None:
    """Record the choices of a pair, with drafts as long as on a GPU, where a pass over many tokens costs one token."""
    choices, pair = RecordedChoices(), _pair(arguments)
    nudger = Nudger(*models(pair), max_tokens=pair.max_tokens)
    texts = [text for several in PROMPTS.values() for text in several]
    for prompt in [*texts, *(f"Tell me something about {topic}." for topic in TOPICS)]:
        with choices.recording(), patch.object(PassTimer, "cost", lambda timer, tokens: SECONDS * (1 + 0.003 * tokens)):
            print(repr(nudger.generate(prompt).text), flush=True)
        choices.save(arguments.choices)


def play(arguments: argparse.Namespace) -> None:
    """Print the speed of both models with random weights."""
    choices, sizes = RecordedChoices.load(arguments.choices), _sizes(arguments)

    def load_random(name: str, config: PreTrainedConfig, options: LoadingOptions) -> PreTrainedModel:
        if size := sizes.get(name):
            config = LlamaConfig(**size, vocab_size=config.get_text_config().vocab_size, max_position_embeddings=8192)
        model: PreTrainedModel = random_model(config, str(options.dtype), str(options.device))
        model.generation_config = GenerationConfig.from_pretrained(resolve_path(name))
        return model

    with patch("nudging.models.local.weights.load_weights", load_random):
        benchmark = PlayedBenchmark(_pair(arguments))
    prompts = [(kind, number) for kind, several in PROMPTS.items() for number in range(len(several))]
    with choices.playing():
        runs = interleaved([benchmark], prompts, arguments.repeats)
        Console(width=170).print(*tables(runs))
        rates = throughput(benchmark, (1, 4, 16))
    print(f"choices that were recorded: {choices.known}, that were not: {choices.unknown}")
    if arguments.output:
        arguments.output.write_text(json.dumps({"runs": [asdict(run) for run in runs], "throughput": rates}, indent=1))


def _sizes(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return the shapes that replace those of the models, by name."""
    if not arguments.shapes:
        return {}
    return {
        name: SHAPES[shape]
        for name, shape in zip((arguments.base, arguments.nudging), arguments.shapes.split("+"), strict=True)
    }


def _pair(arguments: argparse.Namespace) -> Pair:
    names = (arguments.base, arguments.nudging)
    return Pair(
        "transformers", *names, arguments.max_tokens, arguments.dtype, arguments.device, torch.get_num_threads()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["record", "play"])
    parser.add_argument("choices", type=Path, help="JSON file with the choices")
    parser.add_argument("--base", required=True, help="base model")
    parser.add_argument("--nudging", required=True, help="nudging model")
    parser.add_argument("--shapes", help="shapes in shapes.py of the two models that play, such as 7B+1B")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each prompt and system")
    parser.add_argument("--max-tokens", type=int, default=64, help="maximum length of an answer")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="torch's type of weights")
    parser.add_argument("--device", default="cpu", help="torch's device")
    parser.add_argument("--output", type=Path, help="JSON file for all results")
    arguments = parser.parse_args()
    if arguments.action == "play" and arguments.device == "cpu":
        parser.error("weights are not packed for a CPU here: play on a GPU, with --device cuda")
    {"record": record, "play": play}[arguments.action](arguments)


if __name__ == "__main__":
    main()
