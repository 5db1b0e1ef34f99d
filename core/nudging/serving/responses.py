"""HTTP responses: JSON, server-sent events, and work that stops when the client disconnects."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send


class CancellableResponse(Response):
    """A response that is computed while the client is connected, and cancelled when it disconnects.

    The work does not wait until the client has read what was sent: answers are short, and a slow client must not
    occupy a slot.

    Args:
        work: Computes the response and passes its ASGI messages to the given function.
    """

    def __init__(self, work: Callable[[Send], Awaitable[None]]) -> None:
        super().__init__()
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        messages: asyncio.Queue[Message | None] = asyncio.Queue()

        async def work() -> None:
            try:
                await self._work(messages.put)
            finally:
                messages.put_nowait(None)

        working = asyncio.ensure_future(work())
        sending = asyncio.ensure_future(_send_all(messages, send))
        disconnected = asyncio.ensure_future(_wait_for_disconnect(receive))
        try:
            await asyncio.wait({sending, disconnected}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
                await working
        finally:
            for task in (working, sending, disconnected):
                task.cancel()
            await asyncio.gather(working, sending, disconnected, return_exceptions=True)


class EventStream:
    """A response of server-sent events.

    Args:
        send: Sends an ASGI message.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def send(self, chunk: BaseModel) -> None:
        """Send a chunk as an event."""
        await self._write(json.dumps(chunk.model_dump(exclude_unset=True), ensure_ascii=False), more=True)

    async def end(self, text: str) -> None:
        """Send the last event."""
        await self._write(text, more=False)

    async def _write(self, text: str, *, more: bool) -> None:
        if not self.started:
            self.started = True
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        body = f"data: {text}\n\n".encode(errors="backslashreplace")  # a lone surrogate is escaped: it has no bytes
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


async def send_json(send: Send, reply: BaseModel) -> None:
    """Send a reply as JSON."""
    response = JSONResponse(reply.model_dump(exclude_unset=True))
    await send({"type": "http.response.start", "status": 200, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body})


async def _send_all(messages: "asyncio.Queue[Message | None]", send: Send) -> None:
    while message := await messages.get():
        await send(message)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
