"""Measure the speed of a nudged model and of its two models alone.

    python benchmarks/speed.py
    python benchmarks/speed.py --base MODEL --nudging MODEL --output speed.json --picture speed.png
    python benchmarks/speed.py --shapes 7B+1B --device cuda --dtype bfloat16

The prompts are short questions, questions about a long text, and code. Each model alone runs by transformers'
`generate`, greedily; the pair runs with hints and without. After a warm-up, all systems answer every prompt in turn,
several times, in one process. Every answer starts with empty caches. The base model alone writes as many tokens as the
nudged answer has, so that the times can be compared.

With `--shapes`, models with those shapes and random weights repeat the forward passes of the pair's answers. This
estimates the speed of a larger pair on this machine, if its models agree as often as these two.
"""

import argparse
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch
from pair import add_pair, pair
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from shapes import SHAPES, ReplayPair
from systems import PROMPTS, SYSTEMS, Benchmark, Run, peak_memory

COLOURS = ("#8a8f98", "#c3c7cd", "#e0a84e", "#8fbfa6", "#2f7d5b")
"""The colours of `SYSTEMS` in the picture."""


def main() -> None:
    arguments = _arguments()
    console = Console(width=140)
    pair = (arguments.base, arguments.nudging, arguments.dtype, arguments.device)
    benchmark = Benchmark(*pair, arguments.max_tokens)
    prompts = [(kind, number) for kind, several in PROMPTS.items() for number in range(len(several))]
    prompts = [one for one in prompts if one[0] in arguments.kinds]

    runs = interleaved(benchmark, prompts, arguments.repeats)
    console.print(*tables(runs, benchmark.systems))
    throughput = {at_once: benchmark.throughput(at_once) for at_once in arguments.at_once}
    for at_once, rate in throughput.items():
        console.print(f"{at_once} answers at a time: {rate:.1f} tokens/s")
    replayed = {}
    for shapes in arguments.shapes:
        replayed[shapes] = replay(benchmark, prompts, shapes, arguments)
        console.print(
            f"{shapes} with random weights, seconds for the passes of this pair's answers: {replayed[shapes]}"
        )

    memory = {}
    if arguments.memory:
        del benchmark
        for system in SYSTEMS:
            with get_context("spawn").Pool(1) as process:
                memory[system] = process.apply(peak_memory, (system, *pair))
        console.print("peak memory: " + ", ".join(f"{system} {peak:.1f} GB" for system, peak in memory.items()))

    machine = f"{_processor(arguments.device)}, {torch.get_num_threads()} threads, {arguments.dtype}"
    console.print(f"{arguments.base} + {arguments.nudging}\n{machine}, torch {torch.__version__}")
    if arguments.output:
        found = {
            "machine": machine,
            "runs": [asdict(run) for run in runs],
            "throughput": throughput,
            "memory": memory,
            "replayed": replayed,
        }
        arguments.output.write_text(json.dumps(found, indent=1))
    if arguments.picture:
        draw(runs, arguments.picture)


def interleaved(benchmark: Benchmark, prompts: Sequence[tuple[str, int]], repeats: int) -> list[Run]:
    """Return the runs of all systems, which answer every prompt in turn, `repeats` times."""
    runs: list[Run] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("answering", total=len(prompts) * (len(benchmark.systems) * repeats + 1))
        lengths = {}
        for prompt in prompts:  # the warm-up
            lengths[prompt] = benchmark.run("nudged", *prompt, 0).tokens
            progress.advance(task)
        for _ in range(repeats):
            for prompt in prompts:
                for system in benchmark.systems:
                    runs.append(benchmark.run(system, *prompt, lengths[prompt]))
                    progress.advance(task)
    return runs


def replay(
    benchmark: Benchmark, prompts: Sequence[tuple[str, int]], shapes: str, arguments: argparse.Namespace
) -> dict[str, float]:
    """Return the seconds of models with other shapes for the pair's passes, and for the base model alone."""
    base, nudging = shapes.split("+")
    models = ReplayPair(base, nudging, arguments.dtype, arguments.device)
    seconds = {"base alone": 0.0}
    for system in ("nudged, no hints", "nudged"):
        seconds[system] = 0.0
        for prompt in prompts:
            run, passes = benchmark.nudged(system, *prompt)
            seconds[system] += models.seconds(passes)
            if system == "nudged":
                seconds["base alone"] += models.base_alone(passes, run.tokens)
    return seconds


def tables(runs: Sequence[Run], systems: Sequence[str]) -> Iterator[Table]:
    """Yield a table for each kind of prompt. Passes and tokens fed are per token of the answer."""
    for kind in dict.fromkeys(run.kind for run in runs):
        columns = ("tokens/s", "decoding", "ratio to base alone", "first text", "outside")
        counted = ("base passes", "fed", "nudging passes", "fed")
        table = Table(kind, *columns, *counted)
        alone = _rate([run for run in runs if (run.kind, run.system) == (kind, "base alone")])
        for system in systems:
            mine = [run for run in runs if (run.kind, run.system) == (kind, system)]
            tokens = sum(run.tokens for run in mine)
            outside = sum(run.outside or 0 for run in mine) / sum(run.total for run in mine)
            counts = [[run.base_passes, run.base_fed, run.nudging_passes, run.nudging_fed] for run in mine]
            table.add_row(
                system,
                f"{_rate(mine):.1f}",
                f"{_decoding(mine):.1f}",
                f"{_rate(mine) / alone:.2f}x" + _range(ratios(runs, kind, system)),
                f"{median(run.first for run in mine):.2f} s",
                f"{outside:.1%}" if mine[0].outside is not None else "",
                *("" if None in column else f"{sum(column) / tokens:.2f}" for column in zip(*counts, strict=True)),
            )
        yield table


def ratios(runs: Sequence[Run], kind: str, system: str) -> list[float]:
    """Return the speed relative to the base model alone, for each prompt."""
    found = []
    for number in sorted({run.prompt for run in runs if run.kind == kind}):
        mine, alone = (
            [run for run in runs if (run.kind, run.prompt, run.system) == (kind, number, one)]
            for one in (system, "base alone")
        )
        found.append(_rate(mine) / _rate(alone))
    return found


def draw(runs: Sequence[Run], path: Path) -> None:
    """Draw the tokens per second by kind of prompt and system."""
    from matplotlib import pyplot

    kinds = list(dict.fromkeys(run.kind for run in runs))
    systems = [system for system in SYSTEMS if any(run.system == system for run in runs)]
    figure, axes = pyplot.subplots(figsize=(8, 3), layout="constrained")
    for index, system in enumerate(systems):
        rates = [_rate([run for run in runs if (run.kind, run.system) == (kind, system)]) for kind in kinds]
        places = [place + (index - len(systems) / 2) * 0.16 for place in range(len(kinds))]
        bars = axes.bar(places, rates, 0.14, label=system, color=COLOURS[SYSTEMS.index(system)])
        axes.bar_label(bars, fmt="%.0f", fontsize=7)
    axes.set_xticks(range(len(kinds)), kinds)
    axes.set_ylabel("tokens per second")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=160)


def _rate(runs: Sequence[Run]) -> float:
    """Return the tokens per second over all prompts, each with its median time."""
    return _over_prompts(runs, lambda run: run.tokens, lambda run: run.total)


def _decoding(runs: Sequence[Run]) -> float:
    """Return the same without the first text and the time until it."""
    return _over_prompts(runs, lambda run: run.tokens - 1, lambda run: run.total - run.first)


def _over_prompts(runs: Sequence[Run], tokens: Callable[[Run], float], seconds: Callable[[Run], float]) -> float:
    numbers = {run.prompt for run in runs}
    by_prompt = [[run for run in runs if run.prompt == number] for number in numbers]
    return sum(tokens(group[0]) for group in by_prompt) / sum(median(map(seconds, group)) for group in by_prompt)


def _range(values: Sequence[float]) -> str:
    return f" ({min(values):.2f}-{max(values):.2f})"


def _processor(device: str) -> str:
    if device != "cpu":
        return torch.cuda.get_device_name()
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(": ")[2] if names else platform.processor()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--pair", choices=["demo"], default="demo", help="the demo pair; --base and --nudging replace it"
    )
    add_pair(parser)
    parser.add_argument(
        "--shapes",
        nargs="*",
        default=[],
        help=f"shapes of a base and a nudging model, such as 7B+1B: {', '.join(SHAPES)}",
    )
    parser.add_argument("--kinds", nargs="*", default=list(PROMPTS), choices=list(PROMPTS), help="kinds of prompts")
    parser.add_argument(
        "--at-once", nargs="*", type=int, default=[], help="numbers of answers at a time, to measure throughput"
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs of each prompt and system")
    parser.add_argument("--max-tokens", type=int, default=96, help="maximum length of an answer")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu", help="device in torch's notation")
    parser.add_argument("--memory", action="store_true", help="also measure peak memory, in one process per system")
    parser.add_argument("--output", type=Path, help="JSON file for all runs")
    parser.add_argument("--picture", type=Path, help="PNG file for a bar chart")
    arguments = parser.parse_args()
    arguments.base, arguments.nudging = pair(arguments)
    return arguments


if __name__ == "__main__":
    main()
