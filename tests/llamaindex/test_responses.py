"""Tests of what a message keeps of a response: memories count it, and it goes into the next prompt."""

from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.storage.chat_store import SimpleChatStore
from llama_index.core.tools import FunctionTool
from nudging import ScriptedModel

from llamaindex_nudging import NudgingLLM

TEXT = "Why, hello there! How can I help you today? There is much that I know, and more that I do not."
HI = ChatMessage(role="user", content="Hi")


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def scripted(text: str) -> NudgingLLM:
    model = ScriptedModel(text)
    return NudgingLLM(base_model=model, nudging_model=model)


async def messages() -> list[ChatMessage]:
    llm = scripted(TEXT)
    streamed = [response async for response in await llm.astream_chat([HI])]
    return [
        llm.chat([HI]).message,
        (await llm.achat([HI])).message,
        *(response.message for response in llm.stream_chat([HI])),
        *(response.message for response in streamed),
    ]


def with_call() -> ChatMessage:
    llm = scripted('{"name": "add", "arguments": {"a": 1, "b": 2}}')
    return llm.chat_with_tools([FunctionTool.from_defaults(add)], "1 + 2?", tool_required=True).message


async def test_a_message_without_calls_is_its_text() -> None:
    for message in await messages():
        assert message == ChatMessage(role="assistant", content=message.content)


def test_a_message_has_its_calls_where_programs_look_for_them() -> None:
    message = with_call()
    (call,) = message.additional_kwargs["tool_calls"]
    assert set(message.additional_kwargs) == {"tool_calls"}
    assert call["function"] == {"name": "add", "arguments": '{"a": 1, "b": 2}'}


def test_a_completion_has_calls_and_metadata() -> None:
    text = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>'
    kwargs = scripted(text).complete("1 + 2?", tools=[FunctionTool.from_defaults(add)]).additional_kwargs
    assert {"tool_calls", "finish_reason", "pieces"} <= set(kwargs)


async def test_a_memory_counts_an_answer_as_its_text() -> None:
    memory = Memory.from_defaults(session_id="1", token_limit=4000, tokenizer_fn=str.split)
    for message in await messages():
        assert memory._estimate_token_count([message]) == len((message.content or "").split())


@pytest.mark.parametrize("kind", [Memory, ChatMemoryBuffer])
def test_a_memory_keeps_all_turns_that_fit(kind: Any) -> None:
    turn = len(f"Hi {TEXT}".split())
    llm, memory = scripted(TEXT), kind.from_defaults(token_limit=18 * turn, tokenizer_fn=str.split)
    for _ in range(12):
        memory.put(HI)
        memory.put(llm.chat([HI]).message)
    assert len(memory.get()) == 24


def test_messages_survive_a_chat_store(tmp_path: Path) -> None:
    store = SimpleChatStore()
    store.set_messages("one", [HI, scripted(TEXT).chat([HI]).message, with_call()])
    store.persist(str(tmp_path / "store.json"))
    loaded = SimpleChatStore.from_persist_path(str(tmp_path / "store.json"))
    assert loaded.get_messages("one") == store.get_messages("one")
    buffer = ChatMemoryBuffer.from_defaults(chat_store=store, chat_store_key="one", tokenizer_fn=str.split)
    assert ChatMemoryBuffer.from_string(buffer.to_string()).get_all() == store.get_messages("one")


def test_messages_survive_json() -> None:
    for message in [scripted(TEXT).chat([HI]).message, with_call()]:
        assert ChatMessage.model_validate_json(message.model_dump_json()) == message


def test_a_message_that_was_sent_back_adds_only_its_text_to_a_prompt() -> None:
    prompts: list[str] = []

    def record(prompt: str, text: str) -> list[Any]:
        prompts.append(prompt)
        return []

    recording = NudgingLLM(base_model=ScriptedModel(record), nudging_model=ScriptedModel(record))
    answer = scripted(TEXT).chat([HI]).message
    recording.chat([HI, answer, HI])
    assert prompts[0] == f"user: Hi\nassistant: {TEXT}\nuser: Hi\nassistant: "
