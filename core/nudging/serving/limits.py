"""Limits on body size, prompt length, concurrency and client timeouts."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from nudging.serving.errors import ApiError


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Args:
        at_once: Maximum number of requests that are answered at the same time.
        queue: Maximum number of requests that wait.
        body: Maximum size of a request's body, in bytes.
        prompt_tokens: Maximum length of a prompt, in base-model tokens. By default only the models' contexts limit it.
        client_timeout: Seconds without progress before a client that sends its request, or reads the answer, times out.
        keep_alive: Seconds without text after which a stream gets a comment, so that proxies do not close it.
    """

    at_once: int = 16
    queue: int = 64
    body: int = 1 << 20
    prompt_tokens: int | None = None
    client_timeout: float = 30.0
    keep_alive: float = 15.0


class ConcurrencyLimiter:
    """Limits how many requests are answered at the same time and how many wait."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.at_once)
        self.running = self.waiting = 0

    @property
    def has_free_slot(self) -> bool:
        """True if another answer can begin now."""
        return not self._slots.locked()

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
