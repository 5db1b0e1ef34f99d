"""Measurements that need a new process: peak memory, time until the first text, and the first answers."""

import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import ParamSpec, TypeVar

from nudging import Nudger
from systems import PROMPTS, Pair

P = ParamSpec("P")
T = TypeVar("T")

QUESTIONS = PROMPTS["short question"]

START_TOKENS = 32
"""Maximum length of the answer whose start is measured."""


def in_new_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a function returns in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(function, *args, **kwargs).result()


def peak_memory(pair: Pair, system: str) -> float:
    """Return the peak memory of one answer, in gigabytes. It is that of the whole process, so use a new one."""
    if pair.backend == "llamacpp":
        from llamacpp_systems import answer_long_prompt

        answer_long_prompt(pair, system)
    else:
        from torch_systems import answer_long_prompt as answer_on_torch

        if (peak := answer_on_torch(pair, system)) is not None:
            return peak
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1e6


def first_answers(pair: Pair, first: int) -> list[tuple[int, float]]:
    """Return (tokens, seconds) of the first three answers of this process, the time to load the models left out.

    Args:
        pair: The pair. Each answer starts with empty caches, so that only the process is new.
        first: Index of the question that is asked first. The others follow in turn.
    """
    if pair.backend == "llamacpp":
        from llamacpp_systems import models

        nudger = Nudger(*models(pair), max_tokens=pair.max_tokens)
    else:
        from torch_systems import models as torch_models

        nudger = Nudger(*torch_models(pair), max_tokens=pair.max_tokens)
    nudger.load()
    found = []
    for number in range(len(QUESTIONS)):
        started = time.perf_counter()
        answer = nudger.generate(QUESTIONS[(first + number) % len(QUESTIONS)])
        found.append((answer.usage.completion_tokens, time.perf_counter() - started))
    return found


def seconds_from_start(pair: Pair) -> tuple[float, float]:
    """Return the seconds from the start of a `nudging ask` to its first text, and to its end."""
    if pair.backend == "llamacpp":
        options = ["--n-threads", str(pair.threads)]
    else:
        options = ["--dtype", pair.dtype, "--device", pair.device]
    for author, name in (("base", pair.base), ("nudging", pair.nudging)):
        options += [f"--{author}-model", name, f"--{author}-backend", pair.backend]
    command = [sys.executable, "-m", "nudging", "ask", "--max-tokens", str(START_TOKENS), *options, QUESTIONS[0]]
    with tempfile.TemporaryFile() as messages:
        started = time.perf_counter()
        with Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=messages, bufsize=0) as process:  # noqa: S603 (our own)
            assert process.stdout  # noqa: S101 (for mypy)
            text = process.stdout.read(1)
            first = time.perf_counter() - started
            text += process.stdout.read()
            process.wait()
            end = time.perf_counter() - started
        if process.returncode or not text.strip():
            messages.seek(0)
            raise SystemExit(f"nudging ask failed:\n{messages.read().decode(errors='replace')}")
    return first, end
