"""What Prometheus is told."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from nudging.answer import Answer

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120)


class Metrics:
    """Of one server.

    Args:
        running: Tells how many answers are being written.
        waiting: Tells how many requests wait for their turn.
    """

    def __init__(self, running: Callable[[], int], waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self.responses = Counter(
            "nudging_responses", "Responses by path and HTTP status", ["path", "status"], registry=self._registry
        )
        self._answers = Counter("nudging_answers", "Answers by why they ended", ["reason"], registry=self._registry)
        self._tokens = Counter("nudging_tokens", "Tokens by their author", ["author"], registry=self._registry)
        self._prompt_tokens = Counter("nudging_prompt_tokens", "Tokens of prompts", registry=self._registry)
        self._passes = Counter(
            "nudging_forward_passes", "Forward passes, or tokens of servers", ["model"], registry=self._registry
        )
        self._first = Histogram(
            "nudging_first_text_seconds", "Until the first text", buckets=SECONDS, registry=self._registry
        )
        self._whole = Histogram(
            "nudging_answer_seconds", "Until the whole answer", buckets=SECONDS, registry=self._registry
        )
        Gauge("nudging_running", "Answers being written", registry=self._registry).set_function(running)
        Gauge("nudging_waiting", "Requests that wait", registry=self._registry).set_function(waiting)

    def answered(self, answer: Answer, started: float, first: float | None) -> None:
        """Note an answer, whole or given up. Times are of `time.monotonic`."""
        self._answers.labels(answer.finish_reason or "abandoned").inc()
        for piece in answer.pieces:
            self._tokens.labels(piece.author).inc(piece.tokens)
        self._prompt_tokens.inc(answer.usage.prompt_tokens)
        self._passes.labels("base").inc(answer.usage.base.forward_passes)
        self._passes.labels("nudging").inc(answer.usage.nudging.forward_passes)
        if first is not None:
            self._first.observe(first - started)
        self._whole.observe(time.monotonic() - started)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
