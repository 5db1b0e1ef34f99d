"""What a pair behind servers costs: requests and tokens for a token of the answer, and many answers at once.

    vllm serve BASE --served-model-name base --port 8001 …
    vllm serve NUDGING --served-model-name nudging --port 8002 …
    python benchmarks/servers.py --base-url http://localhost:8001/v1 --nudging-url http://localhost:8002/v1

The first table is over the golden transcripts, beside what the authors' program asked of its servers for the same
answers; it means something with the demo pair only (`--no-transcripts` leaves it out).
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
    """Ours and the authors' program's, on the answers that both write to their end."""
    ours, theirs, tokens = [0, 0, 0, 0], [0, 0, 0, 0], 0
    cases = [case for case in json.loads(TRANSCRIPTS.read_text()) if case["stop_reason"] == "nudging_model_stop"]
    before = decoded(nudger)
    for case in track(cases, "transcripts", transient=True):
        prompts = Prompts(base=case["base_prompt"], nudging=case["nudge_prompt"])
        answer = nudger.generate(prompts, threshold=case["gamma"], max_tokens=case["max_tokens"] * 3 // 2)
        tokens += answer.usage.completion_tokens
        ours[0] += answer.usage.base.requests
        ours[2] += answer.usage.nudging.requests
        for at, count in enumerate(("base_calls", "base_steps", "nudge_calls", "nudge_steps")):
            theirs[at] += case[count]
    ours[1], ours[3] = (int(after - start) for after, start in zip(decoded(nudger), before, strict=True))
    table = Table(title=f"{len(cases)} transcripts, {tokens} tokens: for a token of the answer")
    for column in ("", "base requests", "base tokens decoded", "nudging requests", "nudging tokens decoded"):
        table.add_column(column)
    for name, counts in (("nudging", ours), ("the authors' program", theirs)):
        table.add_row(name, *[f"{count / tokens:.2f}" for count in counts])
    return table


async def at_once(nudger: Nudger, sizes: list[int], answers: int) -> Table:
    """Throughput with so many answers in the making at a time."""
    table = Table(title="answers at once")
    for column in ("at once", "answers", "tokens/s", "of one at a time", "base tokens decoded a token"):
        table.add_column(column)
    alone: list[Answer] = []
    slowest = 0.0
    for size in sizes:
        number = answers if size > 1 else len(TOPICS)
        before, started = decoded(nudger), time.monotonic()
        found = await nudger.agenerate_many([_question(at) for at in range(number)], at_once=size)
        seconds = time.monotonic() - started
        alone = alone or found
        mixed_up = [one.text for at, one in enumerate(found) if one.text != alone[at % len(alone)].text]
        tokens = sum(answer.usage.completion_tokens for answer in found)
        slowest = slowest or tokens / seconds
        base = (decoded(nudger)[0] - before[0]) / tokens
        table.add_row(
            f"{size}", f"{number}", f"{tokens / seconds:.1f}", f"{tokens / seconds / slowest:.1f}x", f"{base:.2f}"
        )
        if mixed_up:
            table.add_row("", f"{len(mixed_up)} differ", "", "", "")
    return table


def decoded(nudger: Nudger) -> list[float]:
    """Tokens that each server says it has decoded so far; vLLM's metrics."""
    models: Any = (nudger.base_model, nudger.nudging_model)
    texts = [httpx.get(f"{model.client.url.removesuffix('/v1')}/metrics").text for model in models]
    pattern = re.compile(r"^vllm:generation_tokens_total{.*} (\S+)$", re.MULTILINE)
    return [sum(map(float, pattern.findall(text))) for text in texts]


def _question(at: int) -> str:
    return f"Tell me something about {TOPICS[at % len(TOPICS)]}."


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--nudging-url", required=True)
    parser.add_argument("--base", default="base", help="the server's name for it")
    parser.add_argument("--nudging", default="nudging")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--answers", type=int, default=64)
    parser.add_argument("--no-transcripts", dest="transcripts", action="store_false")
    return parser.parse_args()


if __name__ == "__main__":
    main()
