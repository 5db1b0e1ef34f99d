"""Answer prompts with the nudging of `modelco`. `modelco.py` starts this program with the peer's own interpreter.

It reads one JSON object from the standard input and writes one to the standard output. It imports nothing of this
project except itself, because the peer has an environment of its own.
"""

import contextlib
import json
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("modelco", "torch", "transformers")


def main() -> None:
    question = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):  # libraries print there too
        answers = answer_all(**question)
    versions = {package: version(package) for package in PACKAGES}
    json.dump({"answers": answers, "gigabytes": peak_memory(), "versions": versions}, sys.stdout)


def answer_all(
    models: Sequence[str],
    warm_up: Sequence[str],
    prompts: Sequence[Sequence[str]],
    cached: bool,
    threshold: float,
    max_tokens: int,
    warm_up_tokens: int,
) -> list[tuple[str, float]]:
    """Return each answer and its seconds.

    Args:
        models: The folders of the base and the nudging model.
        warm_up: The base and the nudging prompt of the first answer, which is not returned.
        prompts: The base and the nudging prompt of each answer.
        cached: True uses the method with a KV cache, False the one without.
        threshold: The base model's lowest top-1 probability.
        max_tokens: Maximum number of tokens of an answer, of either model.
        warm_up_tokens: The same for the first answer.
    """
    nudging = loaded(models)
    generate = nudging.generate_with_kv_cache if cached else nudging.generate

    def answer(prompt: Sequence[str], limit: int) -> str:
        base, nudge = prompt
        (text,) = generate([base], [nudge], max_new_tokens=limit, do_sample=False, gamma=threshold)
        return str(text)

    answer(warm_up, warm_up_tokens)
    answers = []
    for prompt in prompts:
        started = time.perf_counter()
        text = answer(prompt, max_tokens)
        answers.append((text, time.perf_counter() - started))
    return answers


def loaded(models: Sequence[str]) -> Any:
    """Return the peer's object with float32 weights.

    Its constructor asks transformers for bfloat16, and converting its models afterwards would leave them rounded and
    count both copies as its memory. So the constructor gets a loader that always loads float32.
    """
    import torch
    from transformers import AutoModelForCausalLM

    class Float32:
        @staticmethod
        def from_pretrained(folder: str, **options: Any) -> Any:
            return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    peer: Any = import_module("model_collaboration.method.api_nudging")  # this project's environment does not have it
    peer.AutoModelForCausalLM = Float32
    return peer.Nudging(list(models), ["cpu"] * len(models))


def peak_memory() -> float:
    """Return the peak memory of this process, in gigabytes.

    The `ru_maxrss` of a new process starts with the memory of the process that started it, so Linux's own count of
    this process is better.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e9
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9  # bytes on macOS


if __name__ == "__main__":
    main()
