"""The client of one OpenAI-compatible server: its requests, and when they are retried."""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import import_module
from threading import BoundedSemaphore, Lock
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import openai
from pydantic import BaseModel, SecretStr, ValidationError
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_random_exponential

from nudging._logging import log
from nudging.answer import Author
from nudging.errors import ServerError, UnsupportedModelError
from nudging.models.remote.completion import CutOffError, StreamedRequest
from nudging.models.remote.replies import AsyncEvents, AsyncLines, Events, Lines, ReportedError, check_error
from nudging.step import Step

AT_ONCE = 128
"""Maximum number of concurrent completions, if the server has no other one."""

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
            found.append(import_module(name).RequestError)
    return tuple(found)


FAILURES: tuple[type[Exception], ...] = (openai.APIError, ReportedError, CutOffError, *_transport_errors())
"""The errors that a request can end with."""

MALFORMED: tuple[type[Exception], ...] = (ValidationError, json.JSONDecodeError, UnicodeDecodeError)
"""The errors for replies that are not in the expected form."""

PROBLEMS: tuple[type[Exception], ...] = (*FAILURES, UnsupportedModelError, *MALFORMED)
"""All errors of a request, and of the reply to it."""

SESSION_HEADER = "X-Session-ID"
"""Routers for vLLM send requests with the same value to the same replica, which has the prompt in its prefix cache."""

ENDPOINT = re.compile(r"(/v1)?(/chat)?/completions$|/v1(/models)?$")
"""The end of a URL that is not part of the address of the server."""


R = TypeVar("R", bound=BaseModel)


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
        self._root = ENDPOINT.sub("", self.url)
        self._key, self._max_retries = api_key, max_retries
        self._options: dict[str, Any] = {
            "base_url": self.url,
            "api_key": api_key.get_secret_value() if api_key else "none",
            "timeout": timeout,
            "max_retries": 0,  # retries are decided here
        }
        self._lock = Lock()
        self._sync_client: openai.OpenAI | None = None
        self._at_once = AT_ONCE
        self._slots = BoundedSemaphore(AT_ONCE)
        self._async_clients: WeakKeyDictionary[Any, tuple[openai.AsyncOpenAI, asyncio.Semaphore]] = WeakKeyDictionary()
        self._concurrent = 0
        self._last_warning = -LOG_INTERVAL

    def __repr__(self) -> str:
        return f"Client({self.url!r}, {self.model!r})"

    def get(self, path: str, shape: type[R]) -> R:
        """Return the server's answer to a GET request.

        Args:
            path: The path of the endpoint, from the root of the server.
            shape: The form of the answer.

        Raises:
            ServerError: The server does not answer, or refuses the request.
            UnsupportedModelError: The answer is not in this form.
        """
        return self._retried(lambda: self._client.get(self._root + path, cast_to=object), shape)

    def post(self, path: str, body: Mapping[str, Any], shape: type[R]) -> R:
        """Return the server's answer to a POST request. Raise what `get` raises."""
        body = {"model": self.model, **body}
        return self._retried(lambda: self._client.post(self._root + path, cast_to=object, body=body), shape)

    def answers(self, path: str, shape: type[BaseModel]) -> bool:
        """Return True if the server answers a GET request in this form. The request is not retried."""
        try:
            shape.model_validate(self._client.get(self._root + path, cast_to=object))
        except PROBLEMS:
            return False
        return True

    def limit(self, at_once: int) -> None:
        """Set the maximum number of concurrent completions. This is for the first contact, when there are none."""
        self._at_once, self._slots = at_once, BoundedSemaphore(at_once)

    @property
    def concurrent(self) -> int:
        """The number of completions that are under way."""
        return self._concurrent

    def completion(self, request: StreamedRequest) -> Generator[Step | None, None, None]:
        """Yield None once the request is under way, and then the steps of the completion as they arrive.

        If the stream breaks, the request is repeated, and steps that were already received are not yielded twice.
        Closing the generator stops the server.

        Raises:
            ServerError: The server does not answer, or refuses the request.
            UnsupportedModelError: The server sends no log-probabilities, or something else than this kind of server.
        """
        received = _Received()
        try:
            for attempt in Retrying(**self._retry_policy()):
                received.begin_attempt()
                with attempt:
                    with self._slot(), self._reply(request) as chunks:
                        yield from received.start()
                        parser = request.parser()
                        for chunk in chunks:
                            yield from received.new(parser.push(chunk), attempt.retry_state)
                        parser.check_finished()
                    return
                yield from received.start()
        except PROBLEMS as error:
            raise self._translated(error) from None

    async def acompletion(self, request: StreamedRequest) -> AsyncGenerator[Step | None, None]:
        """Run `completion` on an event loop."""
        received = _Received()
        client, slots = self._of_this_loop()
        try:
            async for attempt in AsyncRetrying(**self._retry_policy()):
                received.begin_attempt()
                with attempt:
                    async with self._aslot(slots), self._areply(client, request) as chunks:
                        for started in received.start():
                            yield started
                        parser = request.parser()
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
                self._async_clients[loop] = openai.AsyncOpenAI(**self._options), asyncio.Semaphore(self._at_once)
            return self._async_clients[loop]

    @contextmanager
    def _reply(self, request: StreamedRequest) -> Generator[Iterable[Any], None, None]:
        if not request.is_streamed:
            yield [_checked(self._client.post(**self._arguments(request)))]
            return
        kind: Any = Lines if request.is_ndjson else Events
        with self._client.post(**self._arguments(request), stream=True, stream_cls=kind) as chunks:
            yield chunks

    @asynccontextmanager
    async def _areply(
        self, client: openai.AsyncOpenAI, request: StreamedRequest
    ) -> AsyncGenerator[AsyncIterable[Any], None]:
        if not request.is_streamed:
            yield _alone(_checked(await client.post(**self._arguments(request))))
            return
        kind: Any = AsyncLines if request.is_ndjson else AsyncEvents
        async with await client.post(**self._arguments(request), stream=True, stream_cls=kind) as chunks:
            yield chunks

    def _arguments(self, request: StreamedRequest) -> dict[str, Any]:
        body = {"model": self.model, **request.body}
        options = {"headers": {SESSION_HEADER: request.session}}
        return {"path": self._root + request.path, "body": body, "cast_to": object, "options": options}

    def _retried(self, request: Callable[[], Any], shape: type[R]) -> R:
        try:
            return shape.model_validate(Retrying(**self._retry_policy())(lambda: _checked(request())))
        except PROBLEMS as error:
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
        reason = str(error).strip().rstrip(".") or type(error).__name__
        if self._key and self._key.get_secret_value():
            reason = reason.replace(self._key.get_secret_value(), "…")  # some servers send a wrong key back
        return reason

    def _translated(self, error: Exception) -> ServerError | UnsupportedModelError:
        """Return the error for a request that has failed: what was wrong, at which server, and what to do."""
        if isinstance(error, UnsupportedModelError):
            return self._unusable(self._reason(error))
        if isinstance(error, MALFORMED):
            return self._unusable(
                f"its reply is not in the expected form ({_mismatch(error)}). Check that {self.author}_url is the "
                "address of the API, up to and with /v1"
            )
        status = getattr(error, "status_code", None)
        reason = self._reason(error)
        if _may_pass(error):
            advice = f"It was tried {_times(self._max_retries + 1)}: check that the server runs, or raise max_retries"
        elif status in (401, 403):
            advice = f"Check {self.author}_api_key"
        elif status in (404, 405):
            advice = f"Check {self.author}_url (it ends in /v1) and the model's name there, {self.model!r}"
        elif "context" in reason and "length" in reason:
            advice = f"Pass the length of its context as {self.author}_context_window, so that answers end there"
        else:
            advice = "The server refuses the request, so it is not retried"
        translated = ServerError(f"the {self.author} server at {self.url}: {reason}. {advice}")
        translated.status = status
        return translated

    def _unusable(self, reason: str) -> UnsupportedModelError:
        return UnsupportedModelError(f"the {self.author} server at {self.url} cannot be used for nudging: {reason}")


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


def _checked(reply: object) -> object:
    """Return a reply that is not an error."""
    check_error(reply)
    return reply


def _mismatch(error: Exception) -> str:
    """Return where a reply differs from its expected form."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    mismatch = "an object is expected" if first["type"] == "model_type" else first["msg"]
    return f"{place}: {mismatch}" if place else mismatch


async def _alone(chunk: Any) -> AsyncGenerator[Any, None]:
    yield chunk


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


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
