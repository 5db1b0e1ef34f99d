"""Limits on authentication, body size, prompt length, concurrency and client timeouts."""

import asyncio
import hmac
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nudging.serving.errors import ApiError

PUBLIC_PATHS = {"/", "/health", "/metrics"}
"""Paths that need no API key."""


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Args:
        at_once: Maximum number of requests that are answered at the same time.
        queue: Maximum number of requests that wait.
        body: Maximum size of a request's body, in bytes.
        prompt_tokens: Maximum length of a prompt, in base-model tokens. By default only the models' contexts limit it.
        client_timeout: Seconds without progress before a client that sends its request, or reads the answer, times out.
    """

    at_once: int = 16
    queue: int = 64
    body: int = 1 << 20
    prompt_tokens: int | None = None
    client_timeout: float = 30.0


class ConcurrencyLimiter:
    """Limits how many requests are answered at the same time and how many wait."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.at_once)
        self.running = self.waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncGenerator[None, None]:
        """Wait for a free slot and hold it.

        Raises:
            ApiError: The queue is full.
        """
        if self._slots.locked() and self.waiting >= self._limits.queue:
            raise ApiError(
                429,
                f"{self.running} requests are being answered and {self.waiting} are waiting: try again later",
                kind="rate_limit_error",
                code="too_many_requests",
            )
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._slots.release()


class RequestGuard:
    """ASGI middleware that checks the API key, the body size and the client timeout.

    A request reaches the application only after its whole body has been received.

    Args:
        app: The application.
        limits: The limits.
        api_key: The bearer token that requests must have, or None if they need none.
    """

    def __init__(self, app: ASGIApp, limits: Limits, api_key: str | None) -> None:
        self._app, self._limits = app, limits
        self._key = api_key.encode() if api_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check_headers(scope["path"], Headers(scope=scope))
            messages = await self._read_body(receive)
        except ApiError as error:
            await error.response()(scope, receive, send)
            return

        async def replay() -> Message:
            return messages.pop(0) if messages else await receive()

        async def send_in_time(message: Message) -> None:
            await asyncio.wait_for(send(message), self._limits.client_timeout)

        await self._app(scope, replay, send_in_time)

    def _check_headers(self, path: str, headers: Headers) -> None:
        if self._key and path not in PUBLIC_PATHS:
            scheme, _, key = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(key.strip().encode(), self._key):
                message = "the API key is missing or wrong: send it as the bearer token"
                raise ApiError(401, message, kind="authentication_error", code="invalid_api_key")
        length = headers.get("content-length", "")
        if length.isdigit():
            self._check_size(int(length))

    async def _read_body(self, receive: Receive) -> list[Message]:
        """Return the ASGI messages of the request's body."""
        messages: list[Message] = []
        size, more = 0, True
        while more:
            try:
                message = await asyncio.wait_for(receive(), self._limits.client_timeout)
            except asyncio.TimeoutError:
                seconds = self._limits.client_timeout
                raise ApiError(408, f"the request is incomplete, and no data came for {seconds:g} seconds") from None
            messages.append(message)
            size += len(message.get("body", b""))
            more = message["type"] == "http.request" and message.get("more_body", False)
            self._check_size(size)
        return messages

    def _check_size(self, size: int) -> None:
        if size > self._limits.body:
            raise ApiError(413, f"the request is larger than {self._limits.body} bytes: shorten it")
