"""Metrics for Prometheus."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from nudging.answer import Answer
from nudging.serving.alone import AloneStream
from nudging.serving.limits import ConcurrencyLimiter
from nudging.serving.record import Ending, RequestRecord, current_record
from nudging.stream import AsyncAnswerStream

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
            return Histogram(f"nudging_{name}_seconds", description, ("path",), buckets=SECONDS, registry=registry)

        self._responses = counter("responses", "Responses by path and HTTP status", "path", "status")
        self._response = seconds("response", "Seconds from a request to the end of its response")
        self._answers = counter("answers", "Answers by path and ending", "path", "reason")
        self._tokens = counter("tokens", "Tokens of answers by author", "author")
        self._prompt_tokens = counter("prompt_tokens", "Tokens of prompts")
        self._passes = counter("forward_passes", "Forward passes by model; for a model on a server, tokens", "model")
        self._first_text = seconds("first_text", "Seconds from the start of an answer to its first text")
        self._answer = seconds("answer", "Seconds from the start of an answer to its end")
        running = Gauge("nudging_running", "Requests that are being answered", registry=registry)
        running.set_function(lambda: limiter.running)
        waiting = Gauge("nudging_waiting", "Requests that wait for a slot", registry=registry)
        waiting.set_function(lambda: limiter.waiting)

    @contextmanager
    def recorded(self, stream: AsyncAnswerStream | AloneStream) -> Iterator["AnswerRecorder"]:
        """Record an answer at the end of the block, also one that fails or is cancelled.

            async with nudger.astream(prompt) as stream:
                with metrics.recorded(stream) as recorder:
                    async for piece in stream:
                        recorder.note_text()

        Args:
            stream: The answer.
        """
        recorder = AnswerRecorder()
        ending: Ending = "error"
        try:
            yield recorder
            ending = "tool_calls" if stream.answer.tool_calls else stream.answer.finish_reason or "disconnected"
        except (asyncio.CancelledError, GeneratorExit):
            ending = "disconnected"
            raise
        finally:
            self._record(stream.answer, ending, recorder)

    def _record(self, answer: Answer, ending: Ending, recorder: "AnswerRecorder") -> None:
        record = current_record.get()
        path = record.endpoint if record else "other"
        if record:
            record.add(answer, ending)
        self._answers.labels(path, ending).inc()
        for piece in answer.pieces:
            self._tokens.labels(piece.author).inc(piece.tokens)
        self._prompt_tokens.inc(answer.usage.prompt_tokens)
        self._passes.labels("base").inc(answer.usage.base.forward_passes)
        self._passes.labels("nudging").inc(answer.usage.nudging.forward_passes)
        if recorder.first_text is not None:
            self._first_text.labels(path).observe(recorder.first_text)
        self._answer.labels(path).observe(recorder.seconds)

    def record_response(self, record: RequestRecord) -> None:
        """Count a response. A client that disconnected before it started has none."""
        if record.status is not None:
            self._responses.labels(record.endpoint, record.status).inc()
            self._response.labels(record.endpoint).observe(record.seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)


class AnswerRecorder:
    """Measures an answer while it is being decoded.

    Attributes:
        first_text: Seconds to its first text, or None if there was none yet.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.first_text: float | None = None

    @property
    def seconds(self) -> float:
        """The number of seconds since the answer was started."""
        return time.monotonic() - self._started

    def note_text(self) -> None:
        """Note that the answer has text. The first call counts."""
        if self.first_text is None:
            self.first_text = self.seconds
            if record := current_record.get():
                record.note_text()
