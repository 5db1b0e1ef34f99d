"""What the server bears: who may ask, how much, how many at once, and how long a client may take."""

import asyncio
import hmac
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nudging.serving.errors import RefusedError, refusal

OPEN = {"/", "/health", "/metrics"}
"""Paths that need no key."""


@dataclass(frozen=True)
class Limits:
    """
    Args:
        at_once: Answers that are worked on at a time.
        queue: Requests that may wait for their turn.
        body: Bytes of a request.
        prompt_tokens: Length of a prompt, in base-model tokens; by default what the models' contexts allow.
        patience: Seconds that a client may take over sending its request, or over reading a part of the answer.
    """

    at_once: int = 16
    queue: int = 64
    body: int = 1 << 20
    prompt_tokens: int | None = None
    patience: float = 30.0


class Turns:
    """Who is worked on, and who waits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._free = asyncio.Semaphore(limits.at_once)
        self.running = self.waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None, None]:
        """A turn, once there is one.

        Raises:
            RefusedError: As many as may are waiting already.
        """
        if self._free.locked() and self.waiting >= self._limits.queue:
            raise RefusedError(
                429,
                "rate_limit_error",
                f"{self.running} answers are being written and {self.waiting} requests wait: try again later",
                code="too_many_requests",
            )
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._free.release()


class Gate:
    """ASGI middleware that refuses a request before anybody has read it, and lets go of clients that do not go on.

    Args:
        app: What is behind it.
        limits: What is borne.
        api_key: What every request must have as its bearer token, if there is one.
    """

    def __init__(self, app: ASGIApp, limits: Limits, api_key: str | None) -> None:
        self._app, self._limits = app, limits
        self._key = api_key.encode() if api_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._key and scope["path"] not in OPEN and not self._knows(headers.get("authorization", "")):
            error = RefusedError(401, "authentication_error", "the API key is missing or wrong", code="invalid_api_key")
            await refusal(error)(scope, receive, send)
            return
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._limits.body:
            await refusal(self._too_large())(scope, receive, send)
            return
        try:
            messages = await self._whole_body(receive)
        except RefusedError as error:
            await refusal(error)(scope, receive, send)
            return

        async def replayed() -> Message:
            return messages.pop(0) if messages else await receive()

        async def patient(message: Message) -> None:
            await asyncio.wait_for(send(message), self._limits.patience)

        await self._app(scope, replayed, patient)

    async def _whole_body(self, receive: Receive) -> list[Message]:
        """The request's body, in as many messages as it came."""
        messages: list[Message] = []
        size, more = 0, True
        while more:
            try:
                message = await asyncio.wait_for(receive(), self._limits.patience)
            except asyncio.TimeoutError:
                raise RefusedError(408, "invalid_request_error", "the request did not come to its end") from None
            messages.append(message)
            size += len(message.get("body", b""))
            more = message["type"] == "http.request" and message.get("more_body", False)
            if size > self._limits.body:
                raise self._too_large()
        return messages

    def _knows(self, authorization: str) -> bool:
        scheme, _, key = authorization.partition(" ")
        given = key.strip().encode()
        return scheme.lower() == "bearer" and hmac.compare_digest(given, self._key or b"")

    def _too_large(self) -> RefusedError:
        return RefusedError(413, "invalid_request_error", f"a request has {self._limits.body} bytes at the most")
