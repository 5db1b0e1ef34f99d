"""The client of one OpenAI-compatible server: its requests, and when they are retried."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import import_module
from threading import BoundedSemaphore, Lock
from typing import Any
from weakref import WeakKeyDictionary

import openai
from pydantic import SecretStr
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_random_exponential

from nudging._logging import log
from nudging.answer import Author
from nudging.errors import ServerError, UnsupportedModelError
from nudging.models.remote.chunks import ChunkParser, CutOffError
from nudging.step import Step

MAX_CONCURRENT = 128
"""Maximum number of concurrent requests to one server."""

PREFETCH_BELOW = 8
"""With fewer concurrent requests than this, a request that may turn out to be unnecessary costs the others little."""

MAX_WAIT = 30.0
"""Maximum seconds between two attempts, unless the server asks for more with Retry-After."""

MAX_RETRY_AFTER = 300.0
"""Maximum seconds to wait if the server asks for it."""

LOG_INTERVAL = 60.0
"""Minimum seconds between two warnings about one server."""

RETRIED_STATUSES = {408, 409, 425, 429, 500, 502, 503, 504}
"""HTTP statuses of failures that may be over at the next attempt."""


def _transport_errors() -> tuple[type[Exception], ...]:
    """Return the errors of the HTTP client when a connection breaks during a stream: openai does not wrap them."""
    found: list[type[Exception]] = []
    for name in ("httpx", "httpx2"):  # older and newer versions of openai use one or the other
        with suppress(ImportError):
            found.append(import_module(name).TransportError)
    return tuple(found)


FAILURES: tuple[type[Exception], ...] = (openai.APIError, CutOffError, json.JSONDecodeError, *_transport_errors())
"""The errors that a request can end with."""

PROBLEMS: tuple[type[Exception], ...] = (*FAILURES, UnsupportedModelError)
"""These, and the error about what a server sends."""


class Client:
    """A client for one model on one server, for any number of threads and event loops.

    Args:
        author: The model's part in the pair, for error messages.
        url: The URL of the API, up to and with `/v1`.
        model: The server's name for the model.
        api_key: Sent as a bearer token, and kept out of logs and errors.
        timeout: Seconds without data before a request times out.
        max_retries: How many times in a row a request may fail and be retried.
    """

    def __init__(
        self, author: Author, url: str, model: str, api_key: SecretStr | None, *, timeout: float, max_retries: int
    ) -> None:
        self.author, self.url, self.model = author, url.rstrip("/"), model
        self._root = self.url.removesuffix("/v1")
        self._key, self._max_retries = api_key, max_retries
        self._options: dict[str, Any] = {
            "base_url": self.url,
            "api_key": api_key.get_secret_value() if api_key else "none",
            "timeout": timeout,
            "max_retries": 0,  # retries are decided here
        }
        self._lock = Lock()
        self._sync_client: openai.OpenAI | None = None
        self._slots = BoundedSemaphore(MAX_CONCURRENT)
        self._async_clients: WeakKeyDictionary[Any, tuple[openai.AsyncOpenAI, asyncio.Semaphore]] = WeakKeyDictionary()
        self._concurrent = 0
        self._last_warning = -LOG_INTERVAL

    def __repr__(self) -> str:
        return f"Client({self.url!r}, {self.model!r})"

    def get(self, path: str) -> Any:
        """Return the server's answer to a GET request, as plain data.

        Raises:
            ServerError: The server does not answer, or refuses the request.
        """
        return self._retried(lambda: self._client.get(self._root + path, cast_to=object))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the server's answer to a POST request, as plain data. Raise what `get` raises."""
        return self._retried(
            lambda: self._client.post(self._root + path, cast_to=object, body={"model": self.model, **body})
        )

    @property
    def has_capacity(self) -> bool:
        """True if one more request hardly slows down the others."""
        return self._concurrent < PREFETCH_BELOW

    def completion(self, request: Mapping[str, Any]) -> Generator[Step | None, None, None]:
        """Yield None once the request is under way, and then the steps of the completion as they arrive.

        If the stream breaks, the request is repeated, and steps that were already received are not yielded twice.
        Closing the generator stops the server.

        Raises:
            ServerError: The server does not answer, or refuses the request.
            UnsupportedModelError: The server sends no log-probabilities.
        """
        received = _Received()
        try:
            for attempt in Retrying(**self._retry_policy()):
                received.begin_attempt()
                with attempt:
                    with self._slot(), self._client.completions.create(**self._streamed(request)) as chunks:
                        yield from received.start()
                        parser = ChunkParser()
                        for chunk in chunks:
                            yield from received.new(parser.push(chunk), attempt.retry_state)
                        parser.check_finished()
                    return
                yield from received.start()
        except PROBLEMS as error:
            raise self._translated(error) from None

    async def acompletion(self, request: Mapping[str, Any]) -> AsyncGenerator[Step | None, None]:
        """Run `completion` on an event loop."""
        received = _Received()
        client, slots = self._of_this_loop()
        try:
            async for attempt in AsyncRetrying(**self._retry_policy()):
                received.begin_attempt()
                with attempt:
                    stream = client.completions.create(**self._streamed(request))
                    async with self._aslot(slots), await stream as chunks:
                        for started in received.start():
                            yield started
                        parser = ChunkParser()
                        async for chunk in chunks:
                            for step in received.new(parser.push(chunk), attempt.retry_state):
                                yield step
                        parser.check_finished()
                    return
                for started in received.start():
                    yield started
        except PROBLEMS as error:
            raise self._translated(error) from None

    @contextmanager
    def _slot(self) -> Generator[None, None, None]:
        with self._slots:
            self._count(1)
            try:
                yield
            finally:
                self._count(-1)

    @asynccontextmanager
    async def _aslot(self, slots: asyncio.Semaphore) -> AsyncGenerator[None, None]:
        async with slots:
            self._count(1)
            try:
                yield
            finally:
                self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._concurrent += change

    @property
    def _client(self) -> openai.OpenAI:
        with self._lock:
            self._sync_client = self._sync_client or openai.OpenAI(**self._options)
            return self._sync_client

    def _of_this_loop(self) -> tuple[openai.AsyncOpenAI, asyncio.Semaphore]:
        """Return the client of this event loop: connections belong to the loop that opened them."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._async_clients:
                self._async_clients[loop] = openai.AsyncOpenAI(**self._options), asyncio.Semaphore(MAX_CONCURRENT)
            return self._async_clients[loop]

    def _streamed(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"model": self.model, "stream": True, "logprobs": 1, **request}

    def _retried(self, request: Callable[[], Any]) -> Any:
        try:
            return Retrying(**self._retry_policy())(request)
        except FAILURES as error:
            raise self._translated(error) from None

    def _retry_policy(self) -> dict[str, Any]:
        """Return the arguments of tenacity's retrying classes."""
        return {
            "retry": retry_if_exception(_may_pass),
            "wait": _wait,
            "stop": stop_after_attempt(self._max_retries + 1),
            "before_sleep": self._log_retry,
            "reraise": True,
        }

    def _log_retry(self, state: RetryCallState) -> None:
        """Log a failed request that is retried, at most once per `LOG_INTERVAL`: hundreds may fail in one outage."""
        now = time.monotonic()
        if now - self._last_warning >= LOG_INTERVAL:
            self._last_warning = now
            error = state.outcome.exception() if state.outcome else None
            log.warning(
                "the %s server at %s: %s. Requests are retried up to %d times (max_retries); nothing is lost",
                self.author,
                self.url,
                self._reason(error),
                self._max_retries,
            )

    def _reason(self, error: BaseException | None) -> str:
        reason = str(error).strip() or type(error).__name__
        if self._key and self._key.get_secret_value():
            reason = reason.replace(self._key.get_secret_value(), "…")  # some servers send a wrong key back
        return reason

    def _translated(self, error: Exception) -> ServerError | UnsupportedModelError:
        if isinstance(error, UnsupportedModelError):
            return UnsupportedModelError(f"the {self.author} server at {self.url} cannot be used for nudging: {error}")
        status = getattr(error, "status_code", None)
        if _may_pass(error):
            advice = f"It was tried {self._max_retries + 1} times: check that the server runs, or raise max_retries"
        elif status in (401, 403):
            advice = f"Check {self.author}_api_key"
        elif status == 404:
            advice = f"Check {self.author}_url (it ends in /v1) and the model's name there, {self.model!r}"
        else:
            advice = "The server refuses the request, so it is not retried"
        translated = ServerError(f"the {self.author} server at {self.url}: {self._reason(error)}. {advice}")
        translated.status = status
        return translated


class _Received:
    """The steps of a completion that were received, over all attempts."""

    def __init__(self) -> None:
        self._started = False
        self._total = 0
        self._in_attempt = 0

    def begin_attempt(self) -> None:
        """Count the steps of a new attempt from 0."""
        self._in_attempt = 0

    def start(self) -> Generator[None, None, None]:
        """Yield None, the first time only."""
        if not self._started:
            self._started = True
            yield None

    def new(self, steps: list[Step], attempt: RetryCallState) -> Generator[Step, None, None]:
        """Yield the steps of this attempt that no earlier attempt brought."""
        for step in steps:
            self._in_attempt += 1
            if self._in_attempt > self._total:
                self._total = self._in_attempt
                attempt.attempt_number = 1  # there is progress: only failures in a row count
                yield step


def _may_pass(error: BaseException) -> bool:
    """Return True if the request may succeed at the next attempt."""
    status = getattr(error, "status_code", None)
    return isinstance(error, FAILURES) and (status is None or status in RETRIED_STATUSES)


def _wait(state: RetryCallState) -> float:
    """Return the seconds until the next attempt: what the server asks for, or exponentially more with jitter."""
    error = state.outcome.exception() if state.outcome else None
    response = getattr(error, "response", None)
    retry_after = response.headers.get("retry-after", "") if response is not None else ""
    with suppress(ValueError):
        return min(float(retry_after), MAX_RETRY_AFTER)
    return float(wait_random_exponential(multiplier=0.5, max=MAX_WAIT)(state))
