"""Recorders for tests: the prompts that a model receives, and the spans of an instrumentor."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nudging import ScriptedModel, Step
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def recorded_prompts() -> tuple[ScriptedModel, list[str]]:
    """Return a model that writes nothing, and the list of the prompts that it receives."""
    prompts: list[str] = []

    def record(prompt: str, text: str) -> list[Step]:
        prompts.append(prompt)
        return []

    return ScriptedModel(record), prompts


@contextmanager
def recorded_spans(instrumentor: Any) -> Iterator[InMemorySpanExporter]:
    """Yield an exporter of the spans that an OpenInference instrumentor records."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor.instrument(tracer_provider=provider)
    try:
        yield exporter
    finally:
        instrumentor.uninstrument()
