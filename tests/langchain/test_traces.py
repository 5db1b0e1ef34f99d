"""Tests of traces in LangChain: inputs, outputs, usage and authors are reported once."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from nudging import Nudger, ScriptedModel
from nudging.settings import SURE_END
from openinference.instrumentation.langchain import LangChainInstrumentor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from recorders import recorded_spans

from langchain_nudging import ChatNudging, NudgingLLM

TEXT = "Why, hello there! How can I help you today? There is much that I know, and more that I do not."
MODEL = ScriptedModel(TEXT, name="greeter")
FIELDS: dict[str, Any] = {"base_model": MODEL, "nudging_model": MODEL}
USAGE = Nudger(**FIELDS, end=SURE_END).generate("Hi").usage

METHODS = {
    "invoke": lambda model, config: model.invoke("Hi", config),
    "stream": lambda model, config: list(model.stream("Hi", config)),
}


class RunRecorder(BaseTracer):
    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.runs.append(run)


@pytest.mark.parametrize("method", METHODS)
def test_a_tracer_receives_input_output_usage_and_authors(method: str) -> None:
    tracer = RunRecorder()
    METHODS[method](ChatNudging(**FIELDS), {"callbacks": [tracer]})
    (run,) = tracer.runs
    assert run.inputs == {"prompts": ["Human: Hi"]}
    (generation,) = run.outputs["generations"][0]  # type: ignore[index]
    message = generation["message"]["kwargs"]
    assert message["content"] == TEXT
    assert message["usage_metadata"]["input_tokens"] == USAGE.prompt_tokens
    assert message["usage_metadata"]["output_tokens"] == USAGE.completion_tokens
    metadata = message["response_metadata"]
    assert metadata["base"]["model_name"] == "greeter"
    assert metadata["base"]["forward_passes"] == USAGE.base.forward_passes
    assert metadata["nudging"]["forward_passes"] == USAGE.nudging.forward_passes
    assert metadata["nudge_ratio"] > 0
    assert metadata["nudging_words"]
    assert run.extra["metadata"]["ls_provider"] == "nudging"  # type: ignore[index]
    assert run.extra["metadata"]["ls_model_name"] == "greeter + greeter"  # type: ignore[index]


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    with recorded_spans(LangChainInstrumentor()) as exporter:
        yield exporter


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [ChatNudging, NudgingLLM])
def test_openinference_records_one_span_with_the_right_counts(
    spans: InMemorySpanExporter, kind: Any, method: str
) -> None:
    METHODS[method](kind(**FIELDS), {})
    (span,) = spans.get_finished_spans()
    attributes = dict(span.attributes or {})
    assert attributes["openinference.span.kind"] == "LLM"
    assert attributes["llm.model_name"] == "greeter + greeter"
    assert "Hi" in str(attributes["input.value"])
    assert TEXT in str(attributes["output.value"])
    if kind is ChatNudging:
        assert attributes["llm.input_messages.0.message.content"] == "Hi"
        assert attributes["llm.output_messages.0.message.content"] == TEXT
    if kind is ChatNudging or method == "invoke":  # LangChain has no field for the usage of a streamed text
        assert attributes["llm.token_count.prompt"] == USAGE.prompt_tokens
        assert attributes["llm.token_count.completion"] == USAGE.completion_tokens
        assert attributes["llm.token_count.total"] == USAGE.total_tokens
