"""Limits per client: requests at the same time, requests per minute, tokens per minute. They are kept in memory."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, TypeAlias

from starlette.responses import JSONResponse

from nudging.serving.errors import ApiError

Kind: TypeAlias = Literal["requests", "tokens"]


class RateLimitError(ApiError):
    """A client has reached one of its limits.

    Args:
        message: The explanation for people.
        kind: OpenAI's type of such errors: "requests" or "tokens".
        headers: The headers of the response.
    """

    def __init__(self, message: str, kind: Kind, headers: Mapping[str, str]) -> None:
        super().__init__(429, message, kind=kind, code="rate_limit_exceeded")
        self._headers = headers

    def response(self) -> JSONResponse:
        """Return the HTTP response for this error."""
        response = super().response()
        response.headers.update(self._headers)
        return response


class RateLimit:
    """A maximum per minute. It refills continuously (a token bucket), as OpenAI's limits do.

    The amount may be taken after the fact and become negative, because the tokens of an answer are known at its end.

    Args:
        per_minute: The maximum.
        now: The clock, in seconds.
    """

    def __init__(self, per_minute: int, now: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self._now = per_minute, now
        self._left, self._time = float(per_minute), now()

    @property
    def left(self) -> float:
        """The amount that is left now."""
        now = self._now()
        self._left = min(self.per_minute, self._left + (now - self._time) * self.per_minute / 60)
        self._time = now
        return self._left

    def take(self, amount: int) -> None:
        """Take an amount."""
        self._left = self.left - amount

    def seconds_until(self, amount: int) -> float:
        """Return the number of seconds until this amount is there, 0 if it is there now."""
        return max(0.0, (amount - self.left) * 60 / self.per_minute)


class Client:
    """A client with an API key, and its use of its limits.

    Args:
        name: The name of the key.
        at_once: Maximum number of requests at the same time, or None.
        per_minute: Maximum numbers of requests and tokens per minute, or None.
    """

    def __init__(self, name: str, at_once: int | None, per_minute: Mapping[Kind, int | None]) -> None:
        self.name, self._at_once, self._running = name, at_once, 0
        self._rates: dict[Kind, RateLimit] = {kind: RateLimit(limit) for kind, limit in per_minute.items() if limit}

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request, and hold one of the client's places while it is answered.

        Raises:
            RateLimitError: The client has reached a limit.
        """
        if self._at_once and self._running >= self._at_once:
            message = (
                f"the API key {self.name!r} has {self._at_once} requests at the same time, its limit: wait for one"
            )
            raise RateLimitError(message, "requests", {"retry-after": "1", **self.headers()})
        for kind, rate in self._rates.items():
            if seconds := math.ceil(rate.seconds_until(1)):
                limit = f"its limit of {rate.per_minute} {kind} per minute"
                message = f"the API key {self.name!r} has reached {limit}: try again in {seconds} s"
                raise RateLimitError(message, kind, {"retry-after": str(seconds), **self.headers()})
        self._take("requests", 1)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    def take_tokens(self, amount: int) -> None:
        """Count the tokens of an answer."""
        self._take("tokens", amount)

    def headers(self) -> dict[str, str]:
        """Return OpenAI's headers about the limits per minute."""
        headers = {}
        for kind, rate in self._rates.items():
            headers[f"x-ratelimit-limit-{kind}"] = str(rate.per_minute)
            headers[f"x-ratelimit-remaining-{kind}"] = str(max(0, math.floor(rate.left)))
            headers[f"x-ratelimit-reset-{kind}"] = _duration(rate.seconds_until(rate.per_minute))
        return headers

    def _take(self, kind: Kind, amount: int) -> None:
        if rate := self._rates.get(kind):
            rate.take(amount)


def _duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: "250ms", "7.66s" or "1m12s"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    minutes, rest = divmod(seconds, 60)
    return (f"{minutes:.0f}m" if minutes else "") + f"{round(rest, 2):g}s"
