"""The checks of a request before it reaches the application: API key, limits of the key, body size, timeouts."""

import asyncio
from contextlib import ExitStack

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nudging.serving.errors import ApiError
from nudging.serving.keys import KeyRing
from nudging.serving.limits import Limits
from nudging.serving.rate_limits import Client
from nudging.serving.record import current_record

PUBLIC_PATHS = {"/", "/health", "/metrics"}
"""Paths that need no API key, beside those of the chat page's files."""


class RequestGuard:
    """ASGI middleware that checks the API key and its limits, the body size and the client timeout.

    A request reaches the application only after its whole body has been received.

    Args:
        app: The application.
        limits: The limits of the server.
        keys: The API keys, one of which a request must have. If there are none, requests need none.
    """

    def __init__(self, app: ASGIApp, limits: Limits, keys: KeyRing) -> None:
        self._app, self._limits, self._keys = app, limits, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with ExitStack() as admitted:
            try:
                headers = Headers(scope=scope)
                client = self._client(scope["path"], headers)
                self._check_length(headers)
                messages = await self._read_body(receive)
                if client and scope["method"] == "POST":
                    admitted.enter_context(client.admitted())
            except ApiError as error:
                await error.response()(scope, receive, send)
                return

            async def replay() -> Message:
                return messages.pop(0) if messages else await receive()

            async def send_in_time(message: Message) -> None:
                if client and message["type"] == "http.response.start":
                    limits = [(name.encode(), value.encode()) for name, value in client.headers().items()]
                    message = {**message, "headers": [*message.get("headers", ()), *limits]}
                await asyncio.wait_for(send(message), self._limits.client_timeout)

            try:
                await self._app(scope, replay, send_in_time)
            finally:
                record = current_record.get()
                if client and record:
                    client.take_tokens(record.total_tokens)

    def _client(self, path: str, headers: Headers) -> Client | None:
        """Return the client that sent the request, None if it needs no key."""
        if not self._keys or path in PUBLIC_PATHS or path.startswith("/page/"):
            return None
        scheme, _, key = headers.get("authorization", "").partition(" ")
        client = self._keys.client(key.strip())
        if scheme.lower() != "bearer" or client is None:
            message = "the API key is missing or wrong: send it as the bearer token"
            raise ApiError(401, message, kind="authentication_error", code="invalid_api_key")
        if record := current_record.get():
            record.key = client.name
        return client

    def _check_length(self, headers: Headers) -> None:
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
