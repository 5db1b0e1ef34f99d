"""`nudging serve` in a thread of this process, on a free port."""

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
