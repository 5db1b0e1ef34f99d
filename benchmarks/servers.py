"""Measure a pair on two vLLM servers: requests and decoded tokens per token of the answer, and concurrent answers.

    vllm serve BASE --served-model-name base --port 8001 …
    vllm serve NUDGING --served-model-name nudging --port 8002 …
    python benchmarks/servers.py --base-url http://localhost:8001/v1 --nudging-url http://localhost:8002/v1

The first table compares this engine with the authors' program on the golden transcripts. It is meaningful for the demo
pair only; `--no-transcripts` leaves it out. The second table shows the throughput of concurrent answers.
"""

import argparse
import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
from nudging import Answer, Nudger, Prompts
from rich.console import Console
from rich.progress import track
from rich.table import Table

TOPICS = ["bees", "bread", "chess", "clouds", "coffee", "cotton", "ferns", "glass"]
TRANSCRIPTS = Path(__file__).parents[1] / "tests" / "golden" / "demo-pair.json"


def main() -> None:
    arguments = _arguments()
    names = {"base_model": arguments.base, "nudging_model": arguments.nudging}
    urls = {"base_url": arguments.base_url, "nudging_url": arguments.nudging_url}
    nudger = Nudger(**names, **urls, max_tokens=arguments.max_tokens)
    console = Console(width=120)
    if arguments.transcripts:
        console.print(transcripts(nudger))
    console.print(asyncio.run(at_once(nudger, arguments.at_once, arguments.answers)))


def transcripts(nudger: Nudger) -> Table:
    """Return the requests and decoded tokens of both programs, over the answers that end by themselves."""
    ours, theirs, tokens = [0, 0, 0, 0], [0, 0, 0, 0], 0  # base requests, base tokens, nudging requests, nudging tokens
    cases = [case for case in json.loads(TRANSCRIPTS.read_text()) if case["stop_reason"] == "nudging_model_stop"]
    before = decoded(nudger)
    for case in track(cases, "transcripts", transient=True):
        prompts = Prompts(base=case["base_prompt"], nudging=case["nudge_prompt"])
        answer = nudger.generate(prompts, threshold=case["gamma"], max_tokens=case["max_tokens"] * 3 // 2)
        tokens += answer.usage.completion_tokens
        ours[0] += answer.usage.base.requests
        ours[2] += answer.usage.nudging.requests
        for index, count in enumerate(("base_calls", "base_steps", "nudge_calls", "nudge_steps")):
            theirs[index] += case[count]
    ours[1], ours[3] = (int(after - start) for after, start in zip(decoded(nudger), before, strict=True))
    table = Table(title=f"{len(cases)} transcripts, {tokens} tokens: per token of the answer")
    for column in ("", "base requests", "base tokens decoded", "nudging requests", "nudging tokens decoded"):
        table.add_column(column)
    for name, counts in (("nudging", ours), ("the authors' program", theirs)):
        table.add_row(name, *[f"{count / tokens:.2f}" for count in counts])
    return table


async def at_once(nudger: Nudger, sizes: list[int], answers: int) -> Table:
    """Return the throughput for each number of answers at a time."""
    table = Table(title="concurrent answers")
    for column in ("at once", "answers", "tokens/s", "ratio to one at a time", "base tokens decoded per token"):
        table.add_column(column)
    first: list[Answer] = []  # the answers of the first size: all others must equal them
    first_rate = 0.0
    for size in sizes:
        number = answers if size > 1 else len(TOPICS)
        before, started = decoded(nudger), time.monotonic()
        found = await nudger.agenerate_many([_question(index) for index in range(number)], at_once=size)
        seconds = time.monotonic() - started
        first = first or found
        different = sum(one.text != first[index % len(first)].text for index, one in enumerate(found))
        tokens = sum(answer.usage.completion_tokens for answer in found)
        rate = tokens / seconds
        first_rate = first_rate or rate
        base = (decoded(nudger)[0] - before[0]) / tokens
        table.add_row(f"{size}", f"{number}", f"{rate:.1f}", f"{rate / first_rate:.1f}x", f"{base:.2f}")
        if different:
            table.add_row("", f"{different} differ", "", "", "")
    return table


def decoded(nudger: Nudger) -> list[float]:
    """Return the number of tokens that each server has decoded so far, from vLLM's metrics."""
    models: Any = (nudger.base_model, nudger.nudging_model)
    texts = [httpx.get(f"{model.client.url.removesuffix('/v1')}/metrics").text for model in models]
    pattern = re.compile(r"^vllm:generation_tokens_total{.*} (\S+)$", re.MULTILINE)
    return [sum(map(float, pattern.findall(text))) for text in texts]


def _question(index: int) -> str:
    return f"Tell me something about {TOPICS[index % len(TOPICS)]}."


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", required=True, help="URL of the base model's server, up to and with /v1")
    parser.add_argument("--nudging-url", required=True, help="URL of the nudging model's server")
    parser.add_argument("--base", default="base", help="the server's name for the base model")
    parser.add_argument("--nudging", default="nudging", help="the server's name for the nudging model")
    parser.add_argument("--max-tokens", type=int, default=64, help="maximum length of an answer")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 8, 64], help="numbers of answers at a time")
    parser.add_argument("--answers", type=int, default=64, help="number of answers for each of them")
    parser.add_argument("--no-transcripts", dest="transcripts", action="store_false", help="no first table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
