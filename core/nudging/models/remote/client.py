"""One OpenAI-compatible server: what is asked of it, and asked again until it comes."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import import_module
from threading import BoundedSemaphore, Lock
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import openai
from pydantic import SecretStr
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_random_exponential

from nudging.errors import ServerError, SettingsError, UnsupportedModelError
from nudging.models.remote.chunks import CutOffError, Reading
from nudging.rule import Step

IN_FLIGHT = 128
"""Requests to one server at a time."""

IDLE = 8
"""With fewer requests on their way to it, a server has time for one that may turn out not to be needed."""

LONGEST_WAIT = 30.0
"""Seconds between two attempts, unless the server says otherwise."""

PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
"""HTTP status codes of failures that may be over the next time."""


def _transport_errors() -> tuple[type[Exception], ...]:
    """What the HTTP client raises when a connection breaks in the middle of a stream; openai lets it through."""
    found: list[type[Exception]] = []
    for name in ("httpx", "httpx2"):  # the client that openai uses, in its older and its newer versions
        with suppress(ImportError):
            found.append(import_module(name).TransportError)
    return tuple(found)


FAILURES: tuple[type[Exception], ...] = (openai.APIError, CutOffError, json.JSONDecodeError, *_transport_errors())
"""All that can go wrong with a request."""

PROBLEMS: tuple[type[Exception], ...] = (*FAILURES, UnsupportedModelError)
"""And with what it brings."""


class Server:
    """A server of one model, for any number of threads and event loops.

    Args:
        side: Whose: "base" or "nudging", for errors.
        url: Of the API, up to and with `/v1`.
        model: The name that the server has for it.
        api_key: Sent as a bearer token; kept out of everything else.
        timeout: Seconds that a request may be without a word.
        max_retries: How often in a row a request may fail and be tried again.

    Raises:
        SettingsError: The URL is none, or has a password in it.
    """

    def __init__(
        self, side: str, url: str, model: str, api_key: SecretStr | None, *, timeout: float, max_retries: int
    ) -> None:
        self.side, self.url, self.model = side, _checked(side, url), model
        self._root = self.url.removesuffix("/v1")
        self._key, self._max_retries = api_key, max_retries
        self._options: dict[str, Any] = {
            "base_url": self.url,
            "api_key": api_key.get_secret_value() if api_key else "none",
            "timeout": timeout,
            "max_retries": 0,  # what is tried again, and when, is decided here
        }
        self._made: openai.OpenAI | None = None
        self._lock = Lock()
        self._turns = BoundedSemaphore(IN_FLIGHT)
        self._in_flight = 0
        self._of_loops: WeakKeyDictionary[Any, tuple[openai.AsyncOpenAI, asyncio.Semaphore]] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"Server({self.url!r}, {self.model!r})"

    def get(self, path: str) -> Any:
        """What the server answers to a GET, as plain data.

        Raises:
            ServerError: It does not answer, or refuses.
        """
        return self._retried(lambda: self._client.get(self._root + path, cast_to=object))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What the server answers to a POST, as plain data. Raises what `get` does."""
        return self._retried(
            lambda: self._client.post(self._root + path, cast_to=object, body={"model": self.model, **body})
        )

    @property
    def idle(self) -> bool:
        """Whether so few requests are on their way that one more hardly costs the others anything."""
        return self._in_flight < IDLE

    def completion(self, request: Mapping[str, Any]) -> Generator[Step | None, None, None]:
        """The steps of a completion as they come, after a None that says that it is on its way. Closing it stops the
        server.

        When a stream breaks, the request is made again, and what came already is passed over.

        Raises:
            ServerError: The server does not answer, or refuses.
            UnsupportedModelError: It sends no log-probabilities.
        """
        attempts = _Attempts(self._max_retries)
        while True:
            try:
                with self._turn(), self._client.completions.create(**self._streamed(request)) as chunks:
                    yield from attempts.begin()
                    reading = Reading()
                    for chunk in chunks:
                        yield from attempts.new(reading.push(chunk))
                    reading.check_finished()
                    return
            except PROBLEMS as error:
                problem = error
            yield from attempts.begin()
            time.sleep(self._pause_after(problem, attempts))

    async def acompletion(self, request: Mapping[str, Any]) -> AsyncGenerator[Step | None, None]:
        """`completion` for event loops."""
        attempts = _Attempts(self._max_retries)
        client, turns = self._of_this_loop()
        while True:
            try:
                async with self._aturn(turns), await client.completions.create(**self._streamed(request)) as chunks:
                    for begun in attempts.begin():
                        yield begun
                    reading = Reading()
                    async for chunk in chunks:
                        for step in attempts.new(reading.push(chunk)):
                            yield step
                    reading.check_finished()
                    return
            except PROBLEMS as error:
                problem = error
            for begun in attempts.begin():
                yield begun
            await asyncio.sleep(self._pause_after(problem, attempts))

    @contextmanager
    def _turn(self) -> Generator[None, None, None]:
        with self._turns:
            self._count(1)
            try:
                yield
            finally:
                self._count(-1)

    @asynccontextmanager
    async def _aturn(self, turns: asyncio.Semaphore) -> AsyncGenerator[None, None]:
        async with turns:
            self._count(1)
            try:
                yield
            finally:
                self._count(-1)

    def _count(self, by: int) -> None:
        with self._lock:
            self._in_flight += by

    @property
    def _client(self) -> openai.OpenAI:
        with self._lock:
            self._made = self._made or openai.OpenAI(**self._options)
            return self._made

    def _of_this_loop(self) -> tuple[openai.AsyncOpenAI, asyncio.Semaphore]:
        """Connections belong to the event loop that opened them."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._of_loops:
                self._of_loops[loop] = openai.AsyncOpenAI(**self._options), asyncio.Semaphore(IN_FLIGHT)
            return self._of_loops[loop]

    def _streamed(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"model": self.model, "stream": True, "logprobs": 1, **request}

    def _retried(self, request: Callable[[], Any]) -> Any:
        retrying = Retrying(
            retry=retry_if_exception(_may_pass),
            wait=_pause,
            stop=stop_after_attempt(self._max_retries + 1),
            reraise=True,
        )
        try:
            return retrying(request)
        except FAILURES as error:
            raise self._given_up(error) from None

    def _given_up(self, error: Exception) -> ServerError:
        status = getattr(error, "status_code", None)
        reason = str(error).strip() or type(error).__name__
        if self._key and self._key.get_secret_value():
            reason = reason.replace(self._key.get_secret_value(), "…")  # some servers send a wrong key back
        if _may_pass(error):
            advice = f"It was tried {self._max_retries + 1} times: see whether the server runs, or raise max_retries"
        elif status in (401, 403):
            advice = f"Check {self.side}_api_key"
        elif status == 404:
            advice = f"Check {self.side}_url (it ends in /v1) and the model's name there, {self.model!r}"
        else:
            advice = "The server refuses the request; trying again would not help"
        found = ServerError(f"the {self.side} server at {self.url}: {reason}. {advice}")
        found.status = status
        return found

    def _pause_after(self, error: Exception, attempts: "_Attempts") -> float:
        """Seconds until the next attempt, or the error that says that there is none."""
        if isinstance(error, UnsupportedModelError):
            problem = f"the {self.side} server at {self.url} cannot be used for nudging: {error}"
            raise UnsupportedModelError(problem) from None
        if not attempts.may_go_on(error):
            raise self._given_up(error) from None
        return attempts.pause


class _Attempts:
    """One completion, tried until it is whole."""

    def __init__(self, max_retries: int) -> None:
        self._max_retries = max_retries
        self._given = 0
        self._failures = 0
        self._seen = 0
        self._begun = False
        self.pause = 0.0

    def begin(self) -> Generator[None, None, None]:
        """None, the first time."""
        if not self._begun:
            self._begun = True
            yield None

    def new(self, steps: list[Step]) -> Generator[Step, None, None]:
        """Those of an attempt's steps that no earlier attempt has brought."""
        for step in steps:
            self._seen += 1
            if self._seen > self._given:
                self._given, self._failures = self._seen, 0
                yield step

    def may_go_on(self, error: Exception) -> bool:
        """Whether to try again after this, and after which `pause`."""
        self._failures, self._seen = self._failures + 1, 0
        state = RetryCallState(Retrying(), None, (), {})
        state.attempt_number = self._failures
        state.set_exception((type(error), error, error.__traceback__))
        self.pause = _pause(state)
        return _may_pass(error) and self._failures <= self._max_retries


def _may_pass(error: BaseException) -> bool:
    status = getattr(error, "status_code", None)
    return isinstance(error, FAILURES) and (status is None or status in PASSING)


def _pause(state: RetryCallState) -> float:
    """Seconds: what the server asks for, or longer and longer with a jitter."""
    error = state.outcome.exception() if state.outcome else None
    response = getattr(error, "response", None)
    asked = response.headers.get("retry-after", "") if response is not None else ""
    with suppress(ValueError):
        return min(float(asked), 10 * LONGEST_WAIT)
    return float(wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT)(state))


def _checked(side: str, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{side}_url={url!r}: give the address of an API, as in http://localhost:8000/v1")
    if parts.username or parts.password:
        raise SettingsError(f"{side}_url: leave the password out of the address, and pass it as {side}_api_key")
    return url.rstrip("/")
