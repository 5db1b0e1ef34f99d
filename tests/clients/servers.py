"""The servers under test, in a process of their own, and what all tests ask them."""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

PYTHON = os.environ.get("NUDGING_PYTHON", str(Path(__file__).parents[2] / ".venv" / "bin" / "python"))
"""The Python of the environment that nudging is installed in."""

MODEL = "nudged"
API_KEY = "sk-clients-test"

WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "Return the weather.", "parameters": WEATHER},
}
NOW_TOOL: dict[str, Any] = {"type": "function", "function": {"name": "now"}}

CALL_OSLO = 'Call: weather {"city": "Oslo"}'
"""A question that is answered with a call of a tool."""

CALL_TWO_CITIES = f'{CALL_OSLO}\nCall: weather {{"city": "Rome"}}'
SAY_CALL_OSLO = 'Say: {"name": "weather", "arguments": {"city": "Oslo"}}'
"""The same where a call is required: it is written without tags."""

ALICE = '{"name": "Alice", "age": 30}'
LONG_QUESTION = "Say: no. " + "far away " * 200


class Person(BaseModel):
    name: str
    age: int


@dataclass(frozen=True)
class Servers:
    """The URLs of the servers. See server.py for their models.

    Args:
        scripted: A scripted pair.
        keyed: The same with the API key `API_KEY` and prompts of at most 100 tokens.
        single: The same with one request at a time and no queue.
        tiny: A tiny random pair.
    """

    scripted: str
    keyed: str
    single: str
    tiny: str


@contextmanager
def started() -> Iterator[Servers]:
    """Start the servers, and stop them at the end."""
    command = [PYTHON, str(Path(__file__).with_name("server.py")), "tiny"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, f"{PYTHON} did not start the servers: set NUDGING_PYTHON"
            yield Servers(**{name: f"{url}/v1" for name, url in json.loads(line).items()})
        finally:
            process.stdin.close()


def user(text: str) -> list[Any]:
    """Return a conversation of one question."""
    return [{"role": "user", "content": text}]


def is_idle(url: str, seconds: float = 5.0) -> bool:
    """Return True as soon as a server answers no request, or False if it does so for too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{url.removesuffix('/v1')}/metrics") as reply:  # noqa: S310
            if b"\nnudging_running 0.0" in reply.read():
                return True
        time.sleep(0.02)
    return False
