"""Metrics for Prometheus."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nudging.answer import Answer
from nudging.serving.limits import ConcurrencyLimiter

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120)
"""Upper bounds of the histograms' buckets."""


class Metrics:
    """The metrics of one server.

    Args:
        limiter: The limiter that knows the numbers of running and waiting requests.
    """

    def __init__(self, limiter: ConcurrencyLimiter) -> None:
        registry = self._registry = CollectorRegistry()

        def counter(name: str, description: str, *labels: str) -> Counter:
            return Counter(f"nudging_{name}", description, labels, registry=registry)

        def seconds(name: str, description: str) -> Histogram:
            return Histogram(f"nudging_{name}_seconds", description, buckets=SECONDS, registry=registry)

        self.responses = counter("responses", "Responses by path and HTTP status", "path", "status")
        self._answers = counter("answers", "Answers by finish reason", "reason")
        self._tokens = counter("tokens", "Tokens of answers by author", "author")
        self._prompt_tokens = counter("prompt_tokens", "Tokens of prompts")
        self._passes = counter("forward_passes", "Forward passes by model; for a model on a server, tokens", "model")
        self._first_text = seconds("first_text", "Seconds from the start of an answer to its first text")
        self._answer = seconds("answer", "Seconds from the start of an answer to its end")
        running = Gauge("nudging_running", "Requests that are being answered", registry=registry)
        running.set_function(lambda: limiter.running)
        waiting = Gauge("nudging_waiting", "Requests that wait for a slot", registry=registry)
        waiting.set_function(lambda: limiter.waiting)

    def record(self, answer: Answer, started: float, first_text: float | None) -> None:
        """Record an answer that is complete or was abandoned.

        Args:
            answer: The answer.
            started: The time at which it was started, by `time.monotonic`.
            first_text: The time of its first text, or None if there was none.
        """
        self._answers.labels(answer.finish_reason or "abandoned").inc()
        for piece in answer.pieces:
            self._tokens.labels(piece.author).inc(piece.tokens)
        self._prompt_tokens.inc(answer.usage.prompt_tokens)
        self._passes.labels("base").inc(answer.usage.base.forward_passes)
        self._passes.labels("nudging").inc(answer.usage.nudging.forward_passes)
        if first_text is not None:
            self._first_text.observe(first_text - started)
        self._answer.observe(time.monotonic() - started)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)


class ResponseCounter:
    """ASGI middleware that counts responses by path and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = getattr(scope.get("route"), "path", "other")
                self._metrics.responses.labels(path, message["status"]).inc()
            await send(message)

        await self._app(scope, receive, count)
