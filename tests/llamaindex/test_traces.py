"""Tests of traces and token counters in LlamaIndex: each call is reported once, with the right numbers."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler, TokenCountingHandler
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from nudging import Nudger, ScriptedModel
from openinference.instrumentation.llama_index import LlamaIndexInstrumentor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel
from recorders import recorded_spans

from llamaindex_nudging import NudgingLLM

TEXT = "Why, hello there! How can I help you today? There is much that I know, and more that I do not."
MODEL = ScriptedModel(TEXT, name="greeter")
FIELDS: dict[str, Any] = {"base_model": MODEL, "nudging_model": MODEL}
USAGE = Nudger(**FIELDS).generate("Hi").usage
HI = [ChatMessage(role="user", content="Hi")]


async def _exhaust(stream: Any) -> None:
    async for _ in await stream:
        pass


METHODS: dict[str, Callable[[NudgingLLM], Any]] = {
    "chat": lambda llm: llm.chat(HI),
    "complete": lambda llm: llm.complete("Hi"),
    "stream_chat": lambda llm: list(llm.stream_chat(HI)),
    "stream_complete": lambda llm: list(llm.stream_complete("Hi")),
    "achat": lambda llm: llm.achat(HI),
    "acomplete": lambda llm: llm.acomplete("Hi"),
    "astream_chat": lambda llm: _exhaust(llm.astream_chat(HI)),
    "astream_complete": lambda llm: _exhaust(llm.astream_complete("Hi")),
}
"""The eight methods that answer a prompt or messages."""


async def call(method: str, llm: NudgingLLM) -> None:
    if (result := METHODS[method](llm)) is not None and method.startswith("a"):
        await result


@pytest.mark.parametrize("method", METHODS)
async def test_each_call_has_one_start_event_and_one_end_event(method: str, events: list[Any]) -> None:
    await call(method, NudgingLLM(**FIELDS))
    kind = "LLMChat" if "chat" in method else "LLMCompletion"
    names = [event.class_name() for event in events]
    assert names[0] == f"{kind}StartEvent"
    assert names[-1] == f"{kind}EndEvent"
    assert len([name for name in names if "InProgress" not in name]) == 2
    assert ("LLMChatInProgressEvent" in names) == (method in ("stream_chat", "astream_chat"))
    assert events[-1].response.raw["usage"]["completion_tokens"] == USAGE.completion_tokens


@pytest.mark.parametrize("method", METHODS)
async def test_the_tokens_of_a_call_are_counted_once(method: str) -> None:
    counter, debug = TokenCountingHandler(tokenizer=str.split), LlamaDebugHandler(print_trace_on_end=False)
    await call(method, NudgingLLM(**FIELDS, callback_manager=CallbackManager([counter, debug])))
    (count,) = counter.llm_token_counts
    assert count.prompt_token_count == USAGE.prompt_tokens
    assert count.completion_token_count == USAGE.completion_tokens
    assert len(debug.get_event_pairs(CBEventType.LLM)) == 1


def test_predictions_and_tool_calls_are_counted_once() -> None:
    class Reply(BaseModel):
        words: str

    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    model = ScriptedModel('{"name": "add", "arguments": {"a": 1, "b": 2}}')
    counter = TokenCountingHandler(tokenizer=str.split)
    llm = NudgingLLM(base_model=model, nudging_model=model, callback_manager=CallbackManager([counter]))
    llm.predict(PromptTemplate("Hi"))
    llm.structured_predict(Reply, PromptTemplate("Hi"))
    llm.as_structured_llm(Reply).chat(HI)
    llm.predict_and_call([FunctionTool.from_defaults(add)], "1 + 2?", tool_required=True)
    assert len(counter.llm_token_counts) == 4
    assert all(count.completion_token_count > 0 for count in counter.llm_token_counts)


@pytest.mark.usefixtures("own_settings")
def test_global_callback_handlers_receive_calls_of_the_global_llm() -> None:
    counter = TokenCountingHandler(tokenizer=str.split)
    Settings.callback_manager = CallbackManager([counter])
    Settings.llm = NudgingLLM(**FIELDS)
    assert Settings.llm.complete("Hi").text == TEXT
    assert counter.completion_llm_token_count == USAGE.completion_tokens


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    with recorded_spans(LlamaIndexInstrumentor()) as exporter:
        yield exporter


def only_span(exporter: InMemorySpanExporter) -> tuple[ReadableSpan, dict[str, Any]]:
    (span,) = exporter.get_finished_spans()
    return span, dict(span.attributes or {})


@pytest.mark.parametrize("method", METHODS)
async def test_openinference_records_one_span_with_the_right_numbers(method: str, spans: InMemorySpanExporter) -> None:
    await call(method, NudgingLLM(**FIELDS))
    span, attributes = only_span(spans)
    assert span.name == f"NudgingLLM.{method}"
    assert attributes["openinference.span.kind"] == "LLM"
    assert attributes["llm.model_name"] == "greeter + greeter"
    assert attributes["llm.token_count.prompt"] == USAGE.prompt_tokens
    assert attributes["llm.token_count.completion"] == USAGE.completion_tokens
    assert attributes["llm.token_count.total"] == USAGE.total_tokens
    assert "Hi" in str(attributes["input.value"])
    assert TEXT in str(attributes["output.value"])


def test_openinference_records_tool_calls(spans: InMemorySpanExporter) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    model = ScriptedModel('{"name": "add", "arguments": {"a": 1, "b": 2}}')
    llm = NudgingLLM(base_model=model, nudging_model=model)
    llm.chat(HI, tools=[FunctionTool.from_defaults(add)], tool_choice="required")
    _, attributes = only_span(spans)
    prefix = "llm.output_messages.0.message.tool_calls.0.tool_call.function"
    assert attributes[f"{prefix}.name"] == "add"
    assert json.loads(attributes[f"{prefix}.arguments"]) == {"a": 1, "b": 2}


def test_an_error_ends_the_span(spans: InMemorySpanExporter) -> None:
    def fails(prompt: str, text: str) -> Any:
        raise RuntimeError("the server is gone")

    broken = NudgingLLM(base_model=MODEL, nudging_model=ScriptedModel(fails))
    with pytest.raises(RuntimeError, match="the server is gone"):
        list(broken.stream_chat(HI))
    span, _ = only_span(spans)
    assert not span.status.is_ok
