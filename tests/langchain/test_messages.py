"""Tests of histories in LangChain: messages of any provider, of streams and of agents reach the models as text."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    HumanMessageChunk,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
    trim_messages,
)
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from nudging import ScriptedModel
from recorders import recorded_prompts

from langchain_nudging import ChatNudging

MALFORMED = '<tool_call>{"name": "add", "arguments": {"a": }</tool_call>'
CALL: Any = {"name": "add", "args": {"a": 1}, "id": "x", "type": "tool_call"}


@tool
def add(a: int) -> int:
    """Add."""
    return a


def prompt(*messages: BaseMessage) -> str:
    model, prompts = recorded_prompts()
    ChatNudging(base_model=model, nudging_model=model).invoke(list(messages))
    return prompts[0]


def scripted(text: str, **fields: Any) -> ChatNudging:
    model = ScriptedModel(text)
    return ChatNudging(base_model=model, nudging_model=model, **fields)


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (SystemMessageChunk("Hi"), SystemMessage("Hi")),
        (HumanMessageChunk("Hi"), HumanMessage("Hi")),
        (AIMessageChunk("Hi"), AIMessage("Hi")),
        (AIMessageChunk("", tool_calls=[CALL]), AIMessage("", tool_calls=[CALL])),
        (ToolMessageChunk("Hi", tool_call_id="x"), ToolMessage("Hi", tool_call_id="x")),
        (ChatMessage("Hi", role="developer"), SystemMessage("Hi")),
        (ChatMessage("Hi", role="model"), AIMessage("Hi")),
        (FunctionMessage("Hi", name="add"), ToolMessage("Hi", tool_call_id="x", name="add")),
    ],
)
def test_chunks_and_other_classes_of_messages_are_messages(chunk: BaseMessage, message: BaseMessage) -> None:
    before = [HumanMessage("1?"), AIMessage("", tool_calls=[CALL])]
    assert prompt(*before, chunk, HumanMessage("So?")) == prompt(*before, message, HumanMessage("So?"))


@pytest.mark.parametrize("text", ["Hello there, you.", f"Well. {MALFORMED}", '{"name": "add", "arguments": {"a": 1}}'])
def test_a_streamed_answer_is_the_same_history_as_a_whole_one(text: str) -> None:
    chat = scripted(text).bind_tools([add])
    total = None
    for chunk in chat.stream("Hi"):
        total = chunk if total is None else total + chunk
    assert total is not None
    assert prompt(HumanMessage("Hi"), total, HumanMessage("So?")) == prompt(
        HumanMessage("Hi"), chat.invoke("Hi"), HumanMessage("So?")
    )


def test_an_invalid_call_and_its_answer_are_text() -> None:
    invalid: Any = {"name": "add", "args": '{"a": ', "id": "x", "error": "cut off", "type": "invalid_tool_call"}
    shown = prompt(HumanMessage("1?"), AIMessage("", invalid_tool_calls=[invalid]), ToolMessage("no", tool_call_id="x"))
    assert shown == (
        'user: 1?\nassistant: <tool_call>\n{"name": "add", "arguments": "{\\"a\\": "}\n</tool_call>\n'
        "user: <tool_response>\nno\n</tool_response>\nassistant: "
    )


def test_an_agent_goes_on_after_a_malformed_call() -> None:
    agent = create_agent(scripted(MALFORMED), [add], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    for question in ("1?", "again", "and again"):
        answer = agent.invoke({"messages": [("user", question)]}, config)
    assert len([message for message in answer["messages"] if isinstance(message, HumanMessage)]) == 3


def test_foreign_blocks_keep_their_text() -> None:
    blocks: list[Any] = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "output_text", "text": "a"},
        {"type": "refusal", "refusal": "b"},
        {"type": "server_tool_call", "id": "1", "name": "search", "args": {}},
        {"type": "text", "text": None},
    ]
    assert "assistant: ab\n" in prompt(HumanMessage("Hi"), AIMessage(blocks), HumanMessage("x"))


def test_an_image_that_a_tool_returned_is_a_placeholder() -> None:
    image: list[Any] = [
        {"type": "text", "text": "A chart: "},
        {"type": "image", "base64": "x", "mime_type": "image/png"},
    ]
    shown = prompt(HumanMessage("1?"), AIMessage("", tool_calls=[CALL]), ToolMessage(image, tool_call_id="x"))
    assert "<tool_response>\nA chart: [image]\n" in shown


HISTORY = [
    SystemMessage("Be brief."),
    HumanMessage("1?"),
    AIMessage("", tool_calls=[CALL]),
    ToolMessage("3", tool_call_id="x"),
    AIMessage("3"),
    HumanMessage("thanks"),
]


@pytest.mark.parametrize("max_tokens", [0, 1, 5, 20, 500])
@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "first"},
        {"strategy": "first", "allow_partial": True},
        {"strategy": "first", "end_on": "ai"},
        {"strategy": "last"},
        {"strategy": "last", "allow_partial": True},
        {"strategy": "last", "start_on": "human"},
        {"strategy": "last", "include_system": True},
    ],
)
def test_messages_are_counted_in_any_order_while_they_are_trimmed(options: dict[str, Any], max_tokens: int) -> None:
    chat = scripted("x")
    trimmed = trim_messages(HISTORY, max_tokens=max_tokens, token_counter=chat, **options)
    system = 3 if options.get("include_system") else 0  # LangChain keeps it whatever it takes
    assert chat.get_num_tokens_from_messages(trimmed) <= max(max_tokens, system)
    assert max_tokens < 500 or len(trimmed) in (5, 6)


def test_no_messages_count_0() -> None:
    assert scripted("x").get_num_tokens_from_messages([]) == 0
    assert scripted("x").get_num_tokens_from_messages([HumanMessage("")]) == 0
