"""`nudging serve` in a thread of this process, on a free port, and requests to it without a client."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import uvicorn
from fastapi import FastAPI
from nudging import Nudger
from nudging.serving import create_app


@contextmanager
def serving(nudger: Nudger, **options: Any) -> Iterator[str]:
    """Start a server on a free port, yield its URL, and stop it at the end."""
    config = uvicorn.Config(create_app(nudger, **options), host="127.0.0.1", port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> bool:
    """Return True as soon as the condition holds, or False if it does not hold in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


async def post_directly(app: FastAPI, body: dict[str, Any], send: Callable[[Any], Awaitable[None]]) -> None:
    """Post a chat request to an application. Its ASGI messages are passed to `send` as they come."""
    requests = [{"type": "http.request", "body": json.dumps(body).encode()}]

    async def receive() -> Any:
        if not requests:
            await asyncio.Event().wait()
        return requests.pop()

    scope: Any = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b""}
    await app({**scope, "headers": [(b"content-type", b"application/json")]}, receive, send)
