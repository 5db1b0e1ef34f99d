"""HTTP responses: JSON, server-sent events, and work that stops when the client disconnects."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send
from typing_extensions import Self

STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]


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


@dataclass(frozen=True, slots=True)
class Event:
    """A server-sent event.

    Args:
        data: Its data.
        name: Its name, if it has one.
    """

    data: str
    name: str | None = None

    @classmethod
    def of(cls, data: BaseModel, name: str | None = None) -> "Event":
        """Return an event whose data are the fields that are set, as JSON."""
        return cls(json.dumps(fields_of(data), ensure_ascii=False), name)

    def encode(self) -> bytes:
        """Return the event as it is sent."""
        name = f"event: {self.name}\n" if self.name else ""
        # a lone surrogate is escaped: it has no bytes
        return f"{name}data: {self.data}\n\n".encode(errors="backslashreplace")


class EventStream:
    """A response of server-sent events. While there is nothing to send, comments keep the connection alive.

    Args:
        send: Sends an ASGI message.
        keep_alive: Seconds without an event after which a comment is sent.
    """

    def __init__(self, send: Send, keep_alive: float) -> None:
        self._send, self._keep_alive = send, keep_alive
        self._last = time.monotonic()
        self.started = False

    async def __aenter__(self) -> Self:
        self._commenting = asyncio.ensure_future(self._send_comments())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._commenting.cancel()

    async def send(self, events: Iterable[Event]) -> None:
        """Send events."""
        for event in events:
            await self._write(event.encode())

    async def end(self, events: Iterable[Event]) -> None:
        """Send the last events."""
        await self._write(b"".join(event.encode() for event in events), more=False)

    async def _send_comments(self) -> None:
        while True:
            silent = time.monotonic() - self._last
            if silent >= self._keep_alive:
                await self._write(b": keep-alive\n\n")
            await asyncio.sleep(max(self._keep_alive - silent, 0.01))

    async def _write(self, body: bytes, *, more: bool = True) -> None:
        self._last = time.monotonic()
        if not self.started:
            self.started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def fields_of(reply: BaseModel) -> dict[str, Any]:
    """Return the fields of a reply that are set, by their names for clients."""
    return reply.model_dump(exclude_unset=True, by_alias=True)


async def send_json(send: Send, reply: BaseModel) -> None:
    """Send a reply as JSON."""
    response = JSONResponse(fields_of(reply))
    await send({"type": "http.response.start", "status": 200, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body})


async def _send_all(messages: "asyncio.Queue[Message | None]", send: Send) -> None:
    while message := await messages.get():
        await send(message)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
