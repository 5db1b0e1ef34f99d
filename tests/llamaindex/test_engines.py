"""Tests of LlamaIndex's engines, agents and extractors on real models, with real embeddings.

The chat engine, sub-questions and the ReAct agent are tested as examples (`test_examples.py`). Tests that need a model
trained for tools are marked `standard`.
"""

import sys
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, SummaryIndex, VectorStoreIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.extractors import (
    KeywordExtractor,
    PydanticProgramExtractor,
    QuestionsAnsweredExtractor,
    SummaryExtractor,
    TitleExtractor,
)
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.program import FunctionCallingProgram
from llama_index.core.query_engine import RouterQueryEngine
from llama_index.core.tools import FunctionTool, QueryEngineTool
from nudging.models.demo import tool_pair
from pydantic import BaseModel

from llamaindex_nudging import NudgingLLM

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from llamaindex_index import LocalEmbedding, build_index

QUESTION = "How tall is the Eiffel Tower?"


@pytest.fixture(scope="module")
def llm(pair: tuple[Path, Path]) -> NudgingLLM:
    return NudgingLLM(base_model=pair[0], nudging_model=pair[1], max_tokens=24)


@pytest.fixture(scope="module")
def index() -> VectorStoreIndex:
    return build_index()


@pytest.mark.parametrize(
    "mode",
    ["compact", "refine", "tree_summarize", "simple_summarize", "accumulate", "compact_accumulate"],
)
def test_a_query_engine_answers_from_its_documents(llm: NudgingLLM, index: VectorStoreIndex, mode: Any) -> None:
    engine = index.as_query_engine(llm=llm, response_mode=mode, similarity_top_k=2)
    answer = engine.query(QUESTION)
    assert "330" in str(answer)
    assert len(answer.source_nodes) == 2


async def test_a_streamed_answer_equals_the_complete_one(llm: NudgingLLM, index: VectorStoreIndex) -> None:
    complete = str(await index.as_query_engine(llm=llm, similarity_top_k=1).aquery(QUESTION))
    engine = index.as_query_engine(llm=llm, similarity_top_k=1, streaming=True)
    parts = list(engine.query(QUESTION).response_gen)  # type: ignore[union-attr]
    asynchronous = await engine.aquery(QUESTION)
    assert len(parts) > 2
    assert "".join(parts) == complete
    assert "".join([part async for part in asynchronous.async_response_gen()]) == complete  # type: ignore[union-attr]


def test_a_query_engine_returns_an_object(llm: NudgingLLM, index: VectorStoreIndex) -> None:
    class Tower(BaseModel):
        name: str
        metres: int

    engine = index.as_query_engine(llm=llm.as_structured_llm(Tower), similarity_top_k=1)
    assert engine.query(QUESTION).response.metres == 330  # type: ignore[union-attr]


def test_a_router_selects_the_right_engine(llm: NudgingLLM, index: VectorStoreIndex) -> None:
    cats = SummaryIndex.from_documents([Document(text="Cats sleep for 13 to 16 hours a day.")])
    engines = {"buildings": index.as_query_engine(llm=llm, similarity_top_k=1), "cats": cats.as_query_engine(llm=llm)}
    router = RouterQueryEngine.from_defaults(
        [
            QueryEngineTool.from_defaults(e, name=n, description=f"Answers questions about {n}")
            for n, e in engines.items()
        ],
        llm=llm.model_copy(update={"max_tokens": 64}),
    )
    answer = router.query(QUESTION)
    assert "330" in str(answer)
    assert answer.metadata["selector_result"].inds == [0]  # type: ignore[index]


@pytest.mark.standard
async def test_extractors_add_metadata_to_nodes(llm: NudgingLLM) -> None:
    class Place(BaseModel):
        """The place that a text is about."""

        city: str

    program = FunctionCallingProgram.from_defaults(Place, prompt_template_str="{input}", llm=llm)
    extractors = [
        TitleExtractor(llm=llm, nodes=1),
        SummaryExtractor(llm=llm),
        QuestionsAnsweredExtractor(llm=llm, questions=1),
        KeywordExtractor(llm=llm, keywords=3),
        PydanticProgramExtractor(program=program, input_key="input", extract_template_str="{context_str}"),
    ]
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(), *extractors, LocalEmbedding()])
    (node,) = await pipeline.arun(documents=[Document(text="The Eiffel Tower stands in Paris, on the Seine.")])
    keys = ["document_title", "section_summary", "questions_this_excerpt_can_answer", "excerpt_keywords"]
    assert all(node.metadata[key].strip() for key in keys)
    assert node.metadata["city"] == "Paris"
    assert len(node.embedding or []) == 384


def stock_level(product: str) -> int:
    """Get how many pieces of a product are in stock."""
    return {"apples": 31, "pears": 74}[product.lower()]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


TOOLS = [FunctionTool.from_defaults(stock_level), FunctionTool.from_defaults(add)]


async def calls_of(agent: Any, question: str) -> list[tuple[str, dict[str, Any], Any]]:
    """Return the calls that an agent made for a question: name, arguments and result."""
    run = agent.run(question)
    results = [event async for event in run.stream_events() if isinstance(event, ToolCallResult)]
    await run
    return [(result.tool_name, result.tool_kwargs, result.tool_output.raw_output) for result in results]


def test_a_required_tool_is_called(llm: NudgingLLM) -> None:
    assert llm.predict_and_call(TOOLS, "What is 2 + 40?", tool_required=True).response == "42"
    both = llm.model_copy(update={"max_tokens": 64}).predict_and_call(
        [FunctionTool.from_defaults(weather), *TOOLS],
        "What is the weather in Paris and in London?",
        tool_required=True,
        allow_parallel_tool_calls=True,
    )
    assert [output.raw_output for output in both.sources] == ["sunny in Paris", "sunny in London"]


async def test_an_agent_can_be_forced_to_call_a_tool_first(llm: NudgingLLM) -> None:
    returning = FunctionTool.from_defaults(stock_level, return_direct=True)
    agent = FunctionAgent(tools=[returning], llm=llm, initial_tool_choice="stock_level")
    ((tool, _, returned),) = await calls_of(agent, "How many pears are in stock?")
    assert (tool, returned) == ("stock_level", 74)


@pytest.fixture(scope="module")
def tool_llm() -> NudgingLLM:
    base_model, nudging_model = tool_pair(print)
    return NudgingLLM(base_model=base_model, nudging_model=nudging_model, max_tokens=48)


@pytest.mark.standard
@pytest.mark.parametrize("streaming", [False, True])
async def test_an_agent_decides_to_call_a_tool(tool_llm: NudgingLLM, streaming: bool) -> None:
    returning = [FunctionTool.from_defaults(fn, return_direct=True) for fn in (stock_level, add)]
    agent = FunctionAgent(name="shop", description="A shop", tools=returning, llm=tool_llm, streaming=streaming)
    expected = [("stock_level", {"product": "pears"}, 74)]
    assert await calls_of(agent, "How many pears are in stock?") == expected
    assert await calls_of(AgentWorkflow(agents=[agent]), "How many pears are in stock?") == expected


@pytest.mark.standard
async def test_each_method_calls_the_same_tool(tool_llm: NudgingLLM) -> None:
    messages = [ChatMessage(role="user", content="How many pears are in stock?")]
    streamed = [r async for r in await tool_llm.astream_chat_with_tools(TOOLS, chat_history=messages)]
    for response in [
        tool_llm.chat_with_tools(TOOLS, chat_history=messages),
        await tool_llm.achat_with_tools(TOOLS, chat_history=messages),
        list(tool_llm.stream_chat_with_tools(TOOLS, chat_history=messages))[-1],
        streamed[-1],
    ]:
        (call,) = tool_llm.get_tool_calls_from_response(response)
        assert (call.tool_name, call.tool_kwargs) == ("stock_level", {"product": "pears"})
