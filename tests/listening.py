"""What tests listen with: to the prompts that a model is given, and to the spans of an instrumentor."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nudging import ScriptedModel, Step
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def listening() -> tuple[ScriptedModel, list[str]]:
    """A model that says nothing, and the prompts that it is given."""
    seen: list[str] = []

    def listen(prompt: str, text: str) -> list[Step]:
        seen.append(prompt)
        return []

    return ScriptedModel(listen), seen


@contextmanager
def recorded_spans(instrumentor: Any) -> Iterator[InMemorySpanExporter]:
    """The spans that an OpenInference instrumentor sees."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor.instrument(tracer_provider=provider)
    try:
        yield exporter
    finally:
        instrumentor.uninstrument()
