"""Tests of errors: none of them is a ValueError, which LlamaIndex's engines take for a malformed answer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, SummaryIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock
from llama_index.core.base.response.schema import AsyncStreamingResponse
from llama_index.core.prompts import PromptTemplate
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.tools import FunctionTool
from nudging import ChatTemplateError, ModelError, NudgingError, ScriptedModel, Step
from pydantic import BaseModel, ValidationError, field_validator

from llamaindex_nudging import NudgingLLM, NudgingLLMError

MODEL = ScriptedModel("Yes, I do.")
HI = [ChatMessage(role="user", content="Hi")]
PROMPT = PromptTemplate("Hi")


class Reply(BaseModel):
    words: str


def say(words: str) -> str:
    """Say it."""
    return words


TOOL = FunctionTool.from_defaults(say)


def without_template() -> NudgingLLM:
    """Return an LLM whose prompts cannot be rendered."""
    fails = "{{ raise_exception('no such template') }}"
    return NudgingLLM(base_model=MODEL, nudging_model=MODEL, base_template=fails, context_window=4096)


def cut_off(error: Exception) -> NudgingLLM:
    """Return an LLM that raises in the middle of its answer."""

    def write(prompt: str, text: str) -> list[Step]:
        if text:
            raise error
        return [Step('{"words": "Well', 0.0), Step(", then", 0.0)]

    return NudgingLLM(
        base_model=ScriptedModel("", probability=0), nudging_model=ScriptedModel(write), context_window=4096
    )


async def collect(stream: Any) -> list[Any]:
    return [item async for item in await stream]


SYNC: dict[str, Callable[[NudgingLLM], Any]] = {
    "chat": lambda llm: llm.chat(HI),
    "complete": lambda llm: llm.complete("Hi"),
    "stream_chat": lambda llm: list(llm.stream_chat(HI)),
    "stream_complete": lambda llm: list(llm.stream_complete("Hi")),
    "predict": lambda llm: llm.predict(PROMPT),
    "stream": lambda llm: list(llm.stream(PROMPT)),
    "structured_predict": lambda llm: llm.structured_predict(Reply, PROMPT),
    "stream_structured_predict": lambda llm: list(llm.stream_structured_predict(Reply, PROMPT)),
    "as_structured_llm": lambda llm: llm.as_structured_llm(Reply).chat(HI),
    "chat_with_tools": lambda llm: llm.chat_with_tools([TOOL], "Hi"),
    "stream_chat_with_tools": lambda llm: list(llm.stream_chat_with_tools([TOOL], "Hi")),
    "predict_and_call": lambda llm: llm.predict_and_call([TOOL], "Hi"),
}
ASYNC: dict[str, Callable[[NudgingLLM], Any]] = {
    "achat": lambda llm: llm.achat(HI),
    "acomplete": lambda llm: llm.acomplete("Hi"),
    "astream_chat": lambda llm: collect(llm.astream_chat(HI)),
    "astream_complete": lambda llm: collect(llm.astream_complete("Hi")),
    "apredict": lambda llm: llm.apredict(PROMPT),
    "astream": lambda llm: collect(llm.astream(PROMPT)),
    "astructured_predict": lambda llm: llm.astructured_predict(Reply, PROMPT),
    "astream_structured_predict": lambda llm: collect(llm.astream_structured_predict(Reply, PROMPT)),
    "achat_with_tools": lambda llm: llm.achat_with_tools([TOOL], "Hi"),
    "astream_chat_with_tools": lambda llm: collect(llm.astream_chat_with_tools([TOOL], "Hi")),
    "apredict_and_call": lambda llm: llm.apredict_and_call([TOOL], "Hi"),
}


async def call(method: str, llm: NudgingLLM) -> Any:
    return SYNC[method](llm) if method in SYNC else await ASYNC[method](llm)


def test_the_error_is_a_nudging_error() -> None:
    assert issubclass(NudgingLLMError, NudgingError)
    assert not issubclass(NudgingLLMError, ValueError | TypeError)


@pytest.mark.parametrize("method", [*SYNC, *ASYNC])
async def test_no_method_raises_a_value_error(method: str) -> None:
    with pytest.raises(NudgingLLMError, match="no such template") as raised:
        await call(method, without_template())
    assert isinstance(raised.value.__cause__, ChatTemplateError)
    assert str(raised.value) == str(raised.value.__cause__)


@pytest.mark.parametrize("method", [*SYNC, *ASYNC])
@pytest.mark.parametrize("error", [ValueError("half a word"), TypeError("half a word")])
async def test_no_method_raises_a_value_error_in_the_middle_of_an_answer(method: str, error: Exception) -> None:
    with pytest.raises(NudgingLLMError, match="half a word") as raised:
        await call(method, cut_off(error))
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("method", [*SYNC, *ASYNC])
async def test_other_errors_reach_the_caller_unchanged(method: str) -> None:
    error = ModelError("the server is gone")
    with pytest.raises(ModelError) as raised:
        await call(method, cut_off(error))
    assert raised.value is error


def test_errors_before_a_call_are_translated(tmp_path: Path) -> None:
    llm = NudgingLLM(base_model=MODEL, nudging_model=MODEL)
    invalid: list[Callable[[], Any]] = [
        lambda: llm.chat([]),
        lambda: llm.chat([ChatMessage(role="user", blocks=[ImageBlock(url="http://x/y.png")])]),
        lambda: llm.complete("Hi", threshold=2),
        lambda: llm.complete("Hi", treshold=0.2),
        lambda: llm.complete("Hi", schema={"type": "nonsense"}),
        lambda: NudgingLLM(base_model=MODEL, nudging_model=MODEL, base_template="{{", system_prompt="x").metadata,
        lambda: NudgingLLM(base_model=MODEL, nudging_model=MODEL, completion_to_prompt=int).complete("Hi"),
    ]
    for fails in invalid:
        with pytest.raises(NudgingLLMError):
            fails()


def test_an_answer_that_its_class_rejects_raises() -> None:
    class Loud(BaseModel):
        words: str

        @field_validator("words")
        @classmethod
        def _check(cls, words: str) -> str:
            raise ValueError("not loud enough")

    model = ScriptedModel('{"words": "hm"}')
    llm = NudgingLLM(base_model=model, nudging_model=model)
    for predict in (llm.structured_predict, lambda *given: list(llm.stream_structured_predict(*given))):
        with pytest.raises(NudgingLLMError, match="not loud enough") as raised:
            predict(Loud, PROMPT)
        assert isinstance(raised.value.__cause__, ValidationError)


INDEX = SummaryIndex.from_documents([Document(text="The tower is 330 m tall."), Document(text="It is old.")])
WITHOUT_LLM = ResponseMode.NO_TEXT, ResponseMode.CONTEXT_ONLY
NOT_STREAMED = ResponseMode.ACCUMULATE, ResponseMode.COMPACT_ACCUMULATE
MODES = [
    (mode, streaming)
    for mode in ResponseMode
    for streaming in (False, True)
    if mode not in WITHOUT_LLM and not (streaming and mode in NOT_STREAMED)
]


@pytest.mark.parametrize(("mode", "streaming"), MODES)
async def test_a_query_engine_raises_in_all_response_modes(mode: ResponseMode, streaming: bool) -> None:
    engine = INDEX.as_query_engine(llm=without_template(), response_mode=mode, streaming=streaming)
    with pytest.raises(NudgingLLMError, match="no such template"):
        str(engine.query("How tall?"))
    with pytest.raises(NudgingLLMError, match="no such template"):
        await whole_answer(engine)


async def whole_answer(engine: Any) -> None:
    answer = await engine.aquery("How tall?")
    if isinstance(answer, AsyncStreamingResponse):
        await answer.get_response()


@pytest.mark.parametrize("options", [{"output_cls": Reply}, {"structured_answer_filtering": True}])
def test_a_structured_query_engine_raises(options: dict[str, Any]) -> None:
    engine = INDEX.as_query_engine(llm=without_template(), **options)
    with pytest.raises(NudgingLLMError, match="no such template"):
        engine.query("How tall?")


@pytest.mark.parametrize("mode", ["simple", "context", "condense_question", "condense_plus_context"])
async def test_a_chat_engine_raises(mode: Any) -> None:
    engine = INDEX.as_chat_engine(chat_mode=mode, llm=without_template())
    with pytest.raises(NudgingLLMError, match="no such template"):
        engine.chat("How tall?")
    with pytest.raises(NudgingLLMError, match="no such template"):
        await engine.achat("How tall?")


@pytest.mark.parametrize("kind", [FunctionAgent, ReActAgent])
@pytest.mark.parametrize("streaming", [False, True])
async def test_an_agent_raises(kind: Any, streaming: bool) -> None:
    agent = kind(name="a", description="an agent", tools=[TOOL], llm=without_template(), streaming=streaming)
    for runs in (agent, AgentWorkflow(agents=[agent])):
        with pytest.raises(Exception, match="no such template") as raised:
            await runs.run("Hi")
        assert not isinstance(raised.value, ValueError)
