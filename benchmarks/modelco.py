"""Compare this project with the nudging of `modelco`, by the author of the method: speed, memory and answers.

    python -m venv modelco && modelco/bin/pip install torch transformers scikit-learn tenacity openai tqdm
    modelco/bin/pip install --no-deps modelco==1.1.2
    python benchmarks/modelco.py --python modelco/bin/python
    python benchmarks/modelco.py --python modelco/bin/python --base BASE.gguf --nudging NUDGING.gguf --rounds 1

`modelco` runs both models at every token. It has one method with a KV cache and one without. Its class is used as it
is, on the same weights in float32. This project runs with the paper's rule on torch in float32, and on llama.cpp with
the GGUF files as they are; `--setting` compares other rules too. All systems decode greedily from the same prompts.

In each round every system answers all prompts in turn, in a new process and with the same number of threads. The models
are loaded and one answer is given before the clock starts. Every answer starts with empty caches. Lengths are counted
in base-model tokens of the text, for all systems.
"""

import argparse
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter

import modelco_peer
import psutil
from fresh import in_new_process
from modelco_peer import peak_memory
from nudging import Nudger, Prompts
from nudging.models.config import Backend
from nudging.models.tokenizer import resolve_path
from nudging.settings import SettingsOptions
from pair import PACKAGES, add_pair, backends, pair
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from setting import add_settings, settings
from systems import PROMPTS, Pair

WARM_UP_TOKENS = 32
"""Maximum length of the answer before the clock starts."""

CACHED, UNCACHED = "modelco, KV cache", "modelco, no cache"


@dataclass(frozen=True)
class Question:
    """A prompt of `PROMPTS`.

    Args:
        kind: Its kind.
        text: The question.
        prompts: The prompts of both models.
    """

    kind: str
    text: str
    prompts: Prompts


@dataclass(frozen=True)
class Process:
    """The measurements of one process.

    Args:
        answers: Each answer and its seconds.
        gigabytes: Peak memory of the process.
        versions: Versions of packages, by name.
    """

    answers: list[tuple[str, float]]
    gigabytes: float
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Run:
    """The answers of one system to one question.

    Args:
        system: The system.
        kind: The kind of the question.
        question: The question.
        answer: The answer of the last round.
        tokens: Its length, in base-model tokens.
        seconds: Its time in each round.
    """

    system: str
    kind: str
    question: str
    answer: str
    tokens: int
    seconds: tuple[float, ...]

    @property
    def time(self) -> float:
        """The median time."""
        return median(self.seconds)


System = Callable[[Sequence[Question]], Process]


def main() -> None:
    arguments = _arguments()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # torch's number of threads, in all new processes
    folders = [str(resolve_path(name)) for name in pair(arguments, "transformers")]
    nudger = Nudger(*folders)
    questions = [Question(kind, text, nudger.prompts(text)) for kind in arguments.kinds for text in PROMPTS[kind]][
        : arguments.prompts
    ]
    runs: dict[tuple[str, str], Run] = {}
    memory: dict[str, float] = {}
    versions: dict[str, Mapping[str, str]] = {}
    for number in range(arguments.rounds):
        for name, system in _systems(arguments, folders).items():
            asked = questions[: arguments.no_cache] if name == UNCACHED else questions
            if not asked:
                continue
            process = system(asked)
            memory[name] = max(memory.get(name, 0.0), process.gigabytes)
            versions[name] = process.versions
            for question, (answer, seconds) in zip(asked, process.answers, strict=True):
                tokens = len(nudger.base_model.tokenizer.encode(answer, special_tokens=False))
                before = runs.get((name, question.text))
                times = (*(before.seconds if before else ()), seconds)
                run = Run(name, question.kind, question.text, answer, tokens, times)
                runs[name, question.text] = run
                print(f"round {number + 1}, {question.kind}, {name}: {tokens / seconds:.1f} tokens/s ({tokens} tokens)")
            _save(arguments, folders, list(runs.values()), memory, versions)
    console = Console(width=150)
    for kind in dict.fromkeys(question.kind for question in questions):
        console.print(speed_table(kind, [run for run in runs.values() if run.kind == kind]))
    console.print(process_table(list(runs.values()), memory))
    if arguments.answers:
        console.print(answers_table(list(runs.values())))
    for name, packages in versions.items():
        print(f"{name}: {', '.join(f'{package} {number}' for package, number in packages.items())}")
    print(f"{' + '.join(folders)}, {arguments.threads} threads")


def modelco(
    questions: Sequence[Question], arguments: argparse.Namespace, folders: Sequence[str], cached: bool
) -> Process:
    """Return the answers of `modelco`, from a new process of its own interpreter."""
    prompts = [(one.prompts.base, one.prompts.nudging) for one in questions]
    task = {
        "models": folders,
        "warm_up": prompts[0],
        "prompts": prompts,
        "cached": cached,
        "threshold": arguments.threshold,
        "max_tokens": arguments.max_tokens,
        "warm_up_tokens": min(arguments.max_tokens, WARM_UP_TOKENS),
    }
    command = [str(arguments.python), modelco_peer.__file__]
    process = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, check=False)  # noqa: S603
    if process.returncode:
        raise SystemExit(f"modelco failed:\n{process.stderr[-2000:]}")
    found = json.loads(process.stdout)
    return Process([(text, seconds) for text, seconds in found["answers"]], found["gigabytes"], found["versions"])


def ours(questions: Sequence[Question], pair: Pair, options: SettingsOptions) -> Process:
    """Return the answers of a pair of this project. Call it in a new process: it measures the process it runs in."""
    if pair.backend == "llamacpp":
        from llamacpp_systems import models

        nudger = Nudger(*models(pair), max_tokens=pair.max_tokens, **options)
        packages = ["nudging", "llama-cpp-python"]
    else:
        from torch_systems import models as torch_models

        nudger = Nudger(*torch_models(pair), max_tokens=pair.max_tokens, **options)
        packages = ["nudging", "torch", "transformers"]
    nudger.load()
    nudger.generate(questions[0].prompts, max_tokens=min(pair.max_tokens, WARM_UP_TOKENS))
    answers = []
    for question in questions:
        started = perf_counter()
        text = nudger.generate(question.prompts).text
        answers.append((text, perf_counter() - started))
    return Process(answers, peak_memory(), {package: version(package) for package in packages})


def speed_table(kind: str, runs: Sequence[Run]) -> Table:
    """Return the speeds on one kind of prompt. Ratios are over the prompts that both systems answered."""
    table = Table("system", "prompts", "tokens", "tokens/s", f"ratio to {CACHED}", title=kind, box=SIMPLE_HEAD)
    peer = {run.question: run for run in runs if run.system == CACHED}
    for name in dict.fromkeys(run.system for run in runs):
        mine = [run for run in runs if run.system == name]
        both = [run for run in mine if run.question in peer]
        ratio = _rate(both) / _rate([peer[run.question] for run in both]) if both else None
        tokens = sum(run.tokens for run in mine)
        table.add_row(name, str(len(mine)), str(tokens), f"{_rate(mine):.1f}", f"{ratio:.2f}x" if ratio else "")
    return table


def process_table(runs: Sequence[Run], memory: Mapping[str, float]) -> Table:
    """Return the peak memory of each system, and how many of its answers equal those of each other system."""
    table = Table("system", "peak memory", *(f"= {name}" for name in memory), box=SIMPLE_HEAD)
    answers = {name: {run.question: run.answer for run in runs if run.system == name} for name in memory}
    for name, mine in answers.items():
        cells = []
        for other, theirs in answers.items():
            both = mine.keys() & theirs.keys()
            equal = sum(mine[question].strip() == theirs[question].strip() for question in both)
            cells.append("" if other == name else f"{equal} of {len(both)}")
        table.add_row(name, f"{memory[name]:.2f} GB", *cells)
    return table


def answers_table(runs: Sequence[Run]) -> Table:
    """Return all answers side by side, one column for each system."""
    systems = list(dict.fromkeys(run.system for run in runs))
    table = Table("prompt", *systems, show_lines=True)
    for question in dict.fromkeys(run.question for run in runs):
        answers = {run.system: run.answer for run in runs if run.question == question}
        table.add_row(question[-60:], *(answers.get(system, "") for system in systems))
    return table


def _rate(runs: Sequence[Run]) -> float:
    seconds = sum(run.time for run in runs)
    return sum(run.tokens for run in runs) / seconds if seconds else 0.0


def _systems(arguments: argparse.Namespace, folders: Sequence[str]) -> dict[str, System]:
    """Return the systems by name, in the order in which they answer."""

    def peer(cached: bool) -> System:
        return lambda questions: modelco(questions, arguments, folders, cached)

    def new_process(one: Pair, options: SettingsOptions) -> System:
        return lambda questions: in_new_process(ours, questions, one, options)

    systems = {CACHED: peer(cached=True), UNCACHED: peer(cached=False)}
    for backend in arguments.backends:
        for setting in settings(arguments):
            systems[f"nudging, {backend}, {setting.label}"] = new_process(_pair(arguments, backend), setting.options)
    return systems


def _pair(arguments: argparse.Namespace, backend: Backend) -> Pair:
    return Pair(backend, *pair(arguments, backend), arguments.max_tokens, "float32", "cpu", arguments.threads)


def _save(
    arguments: argparse.Namespace,
    folders: Sequence[str],
    runs: Sequence[Run],
    memory: Mapping[str, float],
    versions: Mapping[str, Mapping[str, str]],
) -> None:
    if arguments.output:
        found = {
            "models": folders,
            "threads": arguments.threads,
            "max_tokens": arguments.max_tokens,
            "threshold": arguments.threshold,
            "versions": versions,
            "gigabytes": memory,
            "runs": [asdict(run) for run in runs],
        }
        arguments.output.write_text(json.dumps(found, indent=1, ensure_ascii=False))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="the interpreter of the environment with modelco")
    add_pair(parser)
    add_settings(parser)
    parser.add_argument(
        "--backends", nargs="+", choices=list(PACKAGES), help="default: all that are installed and can run the pair"
    )
    parser.add_argument("--kinds", nargs="+", default=["short question", "code"], choices=list(PROMPTS))
    parser.add_argument("--prompts", type=int, help="maximum number of prompts")
    parser.add_argument("--no-cache", type=int, default=2, help="number of prompts for modelco without its KV cache")
    parser.add_argument("--rounds", type=int, default=3, help="number of times that every system answers")
    parser.add_argument("--max-tokens", type=int, default=96, help="maximum length of an answer")
    parser.add_argument("--threads", type=int, default=psutil.cpu_count(logical=False) or 1, help="of each system")
    parser.add_argument("--threshold", type=float, default=0.4, help="of modelco; --setting has ours")
    parser.add_argument("--answers", action="store_true", help="also print the answers side by side")
    parser.add_argument("--output", type=Path, help="JSON file for all results")
    arguments = parser.parse_args()
    arguments.backends = arguments.backends or backends(arguments)
    return arguments


if __name__ == "__main__":
    main()
