"""Measure the speed of a nudged model and of its two models alone, on llama.cpp and on torch.

    python benchmarks/speed.py
    python benchmarks/speed.py --base MODEL --nudging MODEL --output speed.json --picture speed.png
    python benchmarks/speed.py --backends llamacpp --base BASE.gguf --nudging NUDGING.gguf --at-once 1 16
    python benchmarks/speed.py --setting words,end=0.5 --setting bet,end=0.3
    python benchmarks/speed.py --repeats 0 --memory --start --first
    python benchmarks/speed.py --shapes 7B+1B --device cuda --dtype bfloat16

The prompts are short questions, questions about a long text, and code. Each model alone decodes greedily: on llama.cpp
in a plain loop over its C interface, on torch by transformers' `generate`. The pair runs with hints and without. After
a warm-up, all systems of all backends answer every prompt in turn, several times, in one process. Every answer starts
with empty caches. The base model alone writes as many tokens as the nudged answer has, so that the times can be
compared. Each finished answer is one line of the output, and the tables follow at the end.

GGUF files run on both backends: as they are on llama.cpp, and converted to float32 on torch. The demo pair does too.

In the tables, *decoding* is the speed without the first text and the time until it. *Outside* is the share of the time
in which no forward pass runs. Passes, tokens fed and milliseconds are per token of the answer.

With `--shapes`, models with those shapes and random weights repeat the forward passes of the pair's answers on torch.
This estimates the speed of a larger pair on this machine, if its models agree as often as these two.
"""

import argparse
import gc
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from fresh import QUESTIONS, first_answers, in_new_process, peak_memory, seconds_from_start
from pair import PACKAGES, add_pair, backends, pair
from report import draw, line, tables
from rich.console import Console
from rich.progress import Progress
from setting import add_settings, settings
from systems import PROMPTS, Pair, PairBenchmark, Run, benchmark_of

STARTS = 3
"""Number of processes whose start is measured."""


def main() -> None:
    arguments = _arguments()
    pairs = [_pair(arguments, backend) for backend in arguments.backends]
    prompts = [(kind, number) for kind in arguments.kinds for number in range(len(PROMPTS[kind]))]
    machine = [_processor(arguments.device), *map(_version, pairs)]
    found: dict[str, Any] = {"machine": machine, "pairs": [asdict(pair) for pair in pairs]}
    in_process = arguments.repeats or arguments.at_once or arguments.shapes
    benchmarks = [_loaded(pair) for pair in pairs if in_process]
    runs = interleaved(benchmarks, prompts, arguments.repeats) if arguments.repeats else []
    if runs:
        Console(width=170).print(*tables(runs))
    found["runs"] = [asdict(run) for run in runs]
    _save(found, arguments)
    if runs and arguments.picture:
        draw(runs, arguments.picture)
    found["throughput"] = {one.pair.backend: throughput(one, arguments.at_once) for one in benchmarks}
    found["replayed"] = {}
    for shapes in arguments.shapes:
        on_torch = benchmarks[arguments.backends.index("transformers")]
        found["replayed"][shapes] = seconds = replay(on_torch, prompts, shapes)
        _print(f"{shapes} with random weights, seconds for the passes of this pair's answers: {seconds}")
    _save(found, arguments)

    benchmarks.clear()
    gc.collect()  # the new processes need the memory
    for name, measure in (("memory", memory), ("start", starts), ("first", first)):
        if getattr(arguments, name):
            found[name] = {pair.backend: measure(pair) for pair in pairs}
            _save(found, arguments)
    for one in pairs:
        _print(f"{one.backend}: {one.base} + {one.nudging}")
    _print("\n".join(machine))


def interleaved(benchmarks: Sequence[PairBenchmark], prompts: Sequence[tuple[str, int]], repeats: int) -> list[Run]:
    """Return the runs of all systems, which answer every prompt in turn, `repeats` times. Print each."""
    runs: list[Run] = []
    systems = [(benchmark, system) for benchmark in benchmarks for system in benchmark.pair.systems]
    console = Console(stderr=True)
    # lines go to the standard output, above the bar if both are on the terminal
    with Progress(console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as progress:
        task = progress.add_task("answering", total=len(prompts) * (len(systems) * repeats + len(benchmarks)))
        lengths = {}
        for prompt in prompts:
            for benchmark in benchmarks:
                warm_up = benchmark.run("nudged", *prompt, 0)
                lengths[benchmark, prompt] = warm_up.tokens
                _print(f"warm-up: {line([warm_up])}")
                progress.advance(task)
        for _ in range(repeats):
            for prompt in prompts:
                for benchmark, system in systems:
                    runs.append(benchmark.run(system, *prompt, lengths[benchmark, prompt]))
                    _print(line(runs))
                    progress.advance(task)
    return runs


def throughput(benchmark: PairBenchmark, sizes: Sequence[int]) -> dict[int, float]:
    """Return the tokens per second for each number of answers at a time. Print each."""
    rates: dict[int, float] = {}
    for at_once in sizes:
        rates[at_once] = rate = benchmark.throughput(at_once)
        ratio = f", {rate / rates[sizes[0]]:.2f}x the rate of {sizes[0]}" if at_once != sizes[0] else ""
        _print(f"{benchmark.pair.backend}, answers at a time: {at_once}, {rate:.1f} tokens/s{ratio}")
    return rates


def replay(benchmark: PairBenchmark, prompts: Sequence[tuple[str, int]], shapes: str) -> dict[str, float]:
    """Return the seconds of models with other shapes for the pair's passes, and for the base model alone."""
    from shapes import ReplayPair, TorchPass

    base, nudging = shapes.split("+")
    models = ReplayPair(base, nudging, benchmark.pair.dtype, benchmark.pair.device)
    seconds = {"base alone": 0.0}
    for system in ("nudged, no hints", "nudged"):
        seconds[system] = 0.0
        for prompt in prompts:
            run, recorded = benchmark.nudged(system, *prompt)
            passes = [one for one in recorded if isinstance(one, TorchPass)]
            seconds[system] += models.seconds(passes)
            if system == "nudged":
                seconds["base alone"] += models.base_alone(passes, run.tokens)
    return seconds


def memory(pair: Pair) -> dict[str, float]:
    """Return the peak memory of each system in a process of its own, in gigabytes. Print each."""
    peaks = {}
    for system in pair.systems:
        peaks[system] = in_new_process(peak_memory, pair, system)
        _print(f"{pair.backend}, {system}: peak memory {peaks[system]:.2f} GB")
    return peaks


def starts(pair: Pair) -> list[tuple[float, float]]:
    """Return the seconds of several `nudging ask` until their first text and until their end. Print the medians."""
    found = [seconds_from_start(pair) for _ in range(STARTS)]
    text, end = (median(several) for several in zip(*found, strict=True))
    _print(f"{pair.backend}, nudging ask: first text {text:.1f} s after the process started, end after {end:.1f} s")
    return found


def first(pair: Pair) -> list[float]:
    """Return the tokens per second of the first, second and third answer of a new process. Print them.

    As many processes as questions are started, so that each question is the first one once, and so on.
    """
    found = [in_new_process(first_answers, pair, number) for number in range(len(QUESTIONS))]
    rates = [
        sum(tokens for tokens, _ in place) / sum(seconds for _, seconds in place) for place in zip(*found, strict=True)
    ]
    answers = ", ".join(f"{rate:.1f}" for rate in rates)
    _print(f"{pair.backend}, tokens/s of the first, second and third answer of a process: {answers}")
    return rates


def _pair(arguments: argparse.Namespace, backend: Any) -> Pair:
    base, nudging = pair(arguments, backend)
    return Pair(
        backend,
        base,
        nudging,
        arguments.max_tokens,
        arguments.dtype,
        arguments.device,
        arguments.threads,
        tuple(settings(arguments)),
    )


def _loaded(pair: Pair) -> PairBenchmark:
    started = time.perf_counter()
    benchmark = benchmark_of(pair)
    _print(f"{pair.backend}: loaded in {time.perf_counter() - started:.1f} s")
    return benchmark


def _print(text: str) -> None:
    print(text, flush=True)


def _save(found: dict[str, Any], arguments: argparse.Namespace) -> None:
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1))


def _version(pair: Pair) -> str:
    """Return the version, the threads and the type of weights of a backend."""
    if pair.backend == "llamacpp":
        return f"llama-cpp-python {version('llama-cpp-python')}, {pair.threads} threads"
    import torch

    return f"torch {torch.__version__}, {torch.get_num_threads()} threads, {pair.dtype}"


def _cores() -> int:
    """Return the number of cores that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(psutil.cpu_count(logical=False) or usable, usable)


def _processor(device: str) -> str:
    if device != "cpu":
        import torch

        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [one for one in cpuinfo.read_text().splitlines() if one.startswith("model name")] if cpuinfo.exists() else []
    )
    return names[0].partition(": ")[2] if names else platform.processor()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--pair", choices=["demo"], default="demo", help="the demo pair; --base and --nudging replace it"
    )
    add_pair(parser)
    add_settings(parser, default=())
    parser.add_argument(
        "--backends", nargs="+", choices=list(PACKAGES), help="default: all that are installed and can run the pair"
    )
    parser.add_argument(
        "--shapes", nargs="*", default=[], help="shapes of a base and a nudging model in shapes.py, such as 7B+1B"
    )
    parser.add_argument("--kinds", nargs="*", default=list(PROMPTS), choices=list(PROMPTS), help="kinds of prompts")
    parser.add_argument(
        "--at-once", nargs="*", type=int, default=[], help="numbers of answers at a time, to measure throughput"
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs of each prompt and system; 0 for none")
    parser.add_argument("--max-tokens", type=int, default=96, help="maximum length of an answer")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="torch's type of weights")
    parser.add_argument("--device", default="cpu", help="torch's device")
    parser.add_argument("--threads", type=int, default=_cores(), help="llama.cpp's number of threads")
    parser.add_argument("--memory", action="store_true", help="also measure peak memory, in one process per system")
    parser.add_argument(
        "--start", action="store_true", help="also measure the seconds from the start of `nudging ask` to its text"
    )
    parser.add_argument("--first", action="store_true", help="also measure the first three answers of new processes")
    parser.add_argument("--output", type=Path, help="JSON file for all results")
    parser.add_argument("--picture", type=Path, help="PNG file for a bar chart")
    arguments = parser.parse_args()
    possible = backends(arguments)
    arguments.backends = arguments.backends or possible
    if not possible or (missing := set(arguments.backends) - set(possible)):
        missing = missing if possible else set(PACKAGES)
        parser.error(
            f"{', '.join(sorted(missing))} cannot run this pair: llamacpp runs GGUF files, and the packages "
            "of a backend must be installed"
        )
    if arguments.shapes and "transformers" not in arguments.backends:
        parser.error("--shapes needs the backend transformers")
    return arguments


if __name__ == "__main__":
    main()
