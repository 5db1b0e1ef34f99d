"""`nudging serve` in this process, on a port of its own."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import uvicorn
from nudging import Nudger
from nudging.serving import create_app


@contextmanager
def serving(nudger: Nudger, **options: Any) -> Iterator[str]:
    """The URL of a server on a port of its own."""
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
