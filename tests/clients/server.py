"""`nudging serve` with models whose answers the questions give, and with a tiny random pair, for tests of clients.

Usage: python server.py tiny. It prints the URL of each server as JSON, and ends when its standard input is closed. The
clients run in another environment, without nudging.

A scripted pair tests requests, replies and errors: it answers with what the last line of the conversation gives.

    Say: Hello.                     answers "Hello."; \\n is a new line
    Call: weather {"city": "Oslo"}  calls a tool; several such lines are several calls
    Count: 50                       writes 50 numbers, 20 ms each
    Repeat the prompt.              writes the prompt of the nudging model
    a result of a tool              answers "The tool says: …"

The tiny pair has random weights. It tests constrained answers, streams and concurrency as real models have them.
"""

import asyncio
import json
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
from nudging import Nudger, ScriptedModel, Step
from nudging.serving import Limits, create_app

sys.path.append(str(Path(__file__).parents[1]))

API_KEY = "sk-clients-test"
_CALL = re.compile(r"Call: (\w+) (\{.*\})")
_RESULT = re.compile(r"<tool_response>\n(.*?)\n</tool_response>", re.DOTALL)
_QUESTION = re.compile(r"(Say: .*|Count: \d+|Repeat the prompt\.|(?:Call: .*\n?)+)")


def answer_to(prompt: str) -> str:
    """Return the answer that the last question in a prompt gives."""
    *_, question = [None, *_QUESTION.finditer(prompt)]
    *_, result = [None, *_RESULT.finditer(prompt)]
    if result and (question is None or result.start() > question.start()):
        return f"The tool says: {result[1]}"
    if question is None:
        return "Hello there, how can I help?"
    if calls := _CALL.findall(question[1]):
        return "\n".join(
            f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>' for name, arguments in calls
        )
    kind, _, text = question[1].partition(": ")
    match kind:
        case "Say":
            return text.strip().replace("\\n", "\n")
        case "Count":
            return " ".join(map(str, range(1, int(text) + 1)))
    return prompt


class Script:
    """The script of one of the two models.

    Args:
        first_probability: The probability of an answer's first word. If the base model's is low, the nudging model
            writes this word.
    """

    def __init__(self, first_probability: float) -> None:
        self._first = first_probability

    def __call__(self, prompt: str, text: str) -> Sequence[Step]:
        answer = answer_to(prompt)
        is_continued = text and answer != prompt  # the two prompts differ: the nudging model writes all of its own
        probability = 1.0 if is_continued else self._first
        rest = answer.removeprefix(text) if answer.startswith(text) else ""
        words = re.findall(r"\s*\S+|\s+$", rest)
        if answer.startswith("1 2 3") and words:
            time.sleep(0.02)
            return [Step(words[0], probability)]
        return [*(Step(word, probability) for word in words), Step("", probability, end=True)]


def scripted_nudger() -> Nudger:
    """Return a nudger whose answers the questions give."""
    base, nudging = ScriptedModel(Script(0.1), name="base"), ScriptedModel(Script(1.0), name="nudging")
    return Nudger(base, nudging, max_tokens=1000)


def tiny_nudger(folder: Path) -> Nudger:
    """Return a tiny random pair with room for tools."""
    from tiny import tiny_gemma, tiny_llama

    pair = tiny_gemma(folder / "gemma", context=4096), tiny_llama(folder / "llama", context=4096)
    return Nudger(*pair, threshold=0.2, max_tokens=60)


async def main(folder: Path, *, tiny: bool) -> None:
    """Serve until standard input is closed."""
    apps: dict[str, Any] = {
        "scripted": create_app(scripted_nudger()),
        "keyed": create_app(scripted_nudger(), api_key=API_KEY, limits=Limits(prompt_tokens=100)),
        "single": create_app(scripted_nudger(), limits=Limits(at_once=1, queue=0)),
    }
    if tiny:
        apps["tiny"] = create_app(tiny_nudger(folder))
    configs = [uvicorn.Config(app, port=0, log_level="warning", lifespan="off") for app in apps.values()]
    servers = [uvicorn.Server(config) for config in configs]
    running = [asyncio.create_task(server.serve()) for server in servers]
    while not all(server.started for server in servers):  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    ports = [server.servers[0].sockets[0].getsockname()[1] for server in servers]
    print(json.dumps({name: f"http://127.0.0.1:{port}" for name, port in zip(apps, ports, strict=True)}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*running)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder), tiny="tiny" in sys.argv))
