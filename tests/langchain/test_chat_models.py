"""Tests of both LangChain classes: each call method returns the engine's answer, with the authors of its pieces."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
)
from langchain_core.rate_limiters import BaseRateLimiter
from nudging import Nudger, PromptError, ScriptedModel, SettingsError, Step
from pydantic import ValidationError

from langchain_nudging import ChatNudging, NudgingLLM

TEXT = "Why, hello there! How can I help you today? There is much that I know, and more that I do not."
MODEL = ScriptedModel(TEXT, name="greeter")
FIELDS: dict[str, Any] = {"base_model": MODEL, "nudging_model": MODEL}
EXPECTED = Nudger(**FIELDS).generate("Hi")
PIECES = [{"text": piece.text, "author": piece.author} for piece in EXPECTED.pieces]

chat = ChatNudging(**FIELDS)
llm = NudgingLLM(**FIELDS)


class TokenRecorder(BaseCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.authors: list[str] = []
        self.ended = 0

    def on_llm_new_token(self, token: str, *, chunk: Any = None, **_: Any) -> None:
        self.tokens.append(token)
        info = chunk.message.response_metadata if hasattr(chunk, "message") else chunk.generation_info
        self.authors.append(info.get("author", ""))

    def on_llm_end(self, *_: Any, **__: Any) -> None:
        self.ended += 1


def test_the_script_has_two_authors() -> None:
    assert {piece["author"] for piece in PIECES} == {"base", "nudging"}


# chat


def check_message(message: BaseMessage) -> None:
    assert message.content == TEXT
    metadata = message.response_metadata
    assert metadata["pieces"] == PIECES
    assert metadata["author"] == "nudging+base"
    assert metadata["finish_reason"] == "stop"
    assert metadata["nudge_ratio"] == EXPECTED.nudge_ratio
    assert metadata["nudging_words"] == EXPECTED.nudging_words
    assert metadata["model_name"] == "greeter + greeter"
    assert message.usage_metadata == {  # type: ignore[attr-defined]
        "input_tokens": EXPECTED.usage.prompt_tokens,
        "output_tokens": EXPECTED.usage.completion_tokens,
        "total_tokens": EXPECTED.usage.total_tokens,
    }


def test_invoke() -> None:
    check_message(chat.invoke("Hi"))


async def test_ainvoke() -> None:
    check_message(await chat.ainvoke("Hi"))


def add_up(chunks: Sequence[AIMessageChunk]) -> AIMessageChunk:
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk  # type: ignore[assignment]
    return total


def check_chunks(chunks: Sequence[AIMessageChunk]) -> None:
    *parts, final = chunks
    assert [(part.content, part.response_metadata["author"]) for part in parts] == [
        (piece["text"], piece["author"]) for piece in PIECES
    ]
    assert final.chunk_position == "last"
    check_message(add_up(chunks))


def test_stream() -> None:
    check_chunks(list(chat.stream("Hi")))


async def test_astream() -> None:
    check_chunks([chunk async for chunk in chat.astream("Hi")])


def test_batch() -> None:
    for message in chat.batch(["Hi"] * 3):
        check_message(message)


async def test_abatch() -> None:
    for message in await chat.abatch(["Hi"] * 3):
        check_message(message)


@pytest.mark.parametrize("runnable", [chat, llm], ids=["chat", "llm"])
def test_streaming_reports_each_piece_to_callbacks_once(runnable: Any) -> None:
    handler = TokenRecorder()
    list(runnable.stream("Hi", {"callbacks": [handler]}))
    assert [token for token in handler.tokens if token] == [piece["text"] for piece in PIECES]
    assert handler.authors[: len(PIECES)] == [piece["author"] for piece in PIECES]
    assert handler.ended == 1


@pytest.mark.parametrize("runnable", [chat, llm], ids=["chat", "llm"])
async def test_async_streaming_reports_each_piece_to_callbacks_once(runnable: Any) -> None:
    handler = TokenRecorder()
    async for _ in runnable.astream("Hi", {"callbacks": [handler]}):
        pass
    assert [token for token in handler.tokens if token] == [piece["text"] for piece in PIECES]
    assert handler.ended == 1


def test_usage_reaches_a_callback() -> None:
    handler = UsageMetadataCallbackHandler()
    chat.invoke("Hi", {"callbacks": [handler]})
    assert handler.usage_metadata["greeter + greeter"]["output_tokens"] == EXPECTED.usage.completion_tokens


def test_a_conversation_reaches_both_models() -> None:
    prompts: list[str] = []

    def record(prompt: str, text: str) -> list[Step]:
        prompts.append(prompt)
        return [Step("yes", 1.0), Step("", 1.0, end=True)]

    recording = ChatNudging(base_model=MODEL, nudging_model=ScriptedModel(record))
    blocks: list[Any] = [{"type": "text", "text": "Why"}, "?"]
    recording.invoke([SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Hello"), HumanMessage(blocks)])
    assert prompts == ["system: Be brief.\nuser: Hi\nassistant: Hello\nuser: Why?\nassistant: "]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (HumanMessage([{"type": "image_url", "image_url": "x"}]), "message 1 has content of type 'image_url'"),
        (ChatMessage("Hi", role="wizard"), "message 1 has the role 'wizard'"),
        (HumanMessage(""), "the prompt is empty"),
        (HumanMessage([{"type": "image", "url": "x"}]), "message 1 has content of type 'image'"),
    ],
)
def test_an_invalid_message_raises_a_prompt_error(message: BaseMessage, error: str) -> None:
    with pytest.raises(PromptError, match=error):
        chat.invoke([message])


# settings


def test_settings_can_be_passed_per_call_or_bound() -> None:
    assert chat.invoke("Hi", max_tokens=2).response_metadata["finish_reason"] == "length"
    assert chat.bind(stop=["there"]).invoke("Hi").content == "Why, hello "
    assert chat.invoke("Hi", stop=["!"]).content == "Why, hello there"
    assert llm.invoke("Hi", stop=["!"]) == "Why, hello there"
    assert ChatNudging(**FIELDS, stop="!").invoke("Hi").content == "Why, hello there"


@pytest.mark.parametrize("runnable", [chat, llm], ids=["chat", "llm"])
def test_a_wrong_setting_raises_in_the_call_and_in_the_constructor(runnable: Any) -> None:
    with pytest.raises(SettingsError, match="threshold=2"):
        runnable.invoke("Hi", threshold=2)
    with pytest.raises(SettingsError, match="no setting 'gamma'"):
        runnable.invoke("Hi", gamma=0.2)
    with pytest.raises(ValidationError, match="threshold"):
        type(runnable)(**FIELDS, threshold=2)
    with pytest.raises(ValidationError, match="max_tokens"):
        type(runnable)(**FIELDS, max_tokens=0)


def test_the_cache_key_includes_models_and_settings() -> None:
    cache = InMemoryCache()
    one = ChatNudging(**FIELDS, cache=cache)
    other = ChatNudging(base_model=MODEL, nudging_model=ScriptedModel("Bye.", name="other"), cache=cache)
    shorter = ChatNudging(**FIELDS, cache=cache, max_tokens=1)
    assert [model.invoke("Hi").content for model in (one, other, shorter, one)] == [TEXT, "Bye.", "Why,", TEXT]


def test_closing_a_stream_stops_decoding_and_exceptions_reach_the_caller() -> None:
    calls: list[str] = []

    def endless(prompt: str, text: str) -> list[Step]:
        calls.append(text)
        if len(calls) > 3:
            raise RuntimeError("the server is gone")
        return [Step(" more", 1.0)] * 16

    model = ChatNudging(base_model=ScriptedModel("", probability=0), nudging_model=ScriptedModel(endless))
    stream = model.stream("Hi")
    next(stream)
    stream.close()
    assert len(calls) == 1
    with pytest.raises(RuntimeError, match="the server is gone"):
        list(model.stream("Hi"))


# llm


def test_all_llm_methods_return_the_same_answer() -> None:
    assert llm.invoke("Hi") == TEXT
    assert "".join(llm.stream("Hi")) == TEXT
    assert llm.batch(["Hi", "Hi"]) == [TEXT, TEXT]


async def test_all_async_llm_methods_return_the_same_answer() -> None:
    assert await llm.ainvoke("Hi") == TEXT
    assert "".join([text async for text in llm.astream("Hi")]) == TEXT
    assert await llm.abatch(["Hi", "Hi"]) == [TEXT, TEXT]


def test_the_llm_reports_usage_and_authors() -> None:
    result = llm.generate(["Hi", "Hi"])
    assert result.llm_output["token_usage"]["completion_tokens"] == 2 * EXPECTED.usage.completion_tokens
    assert result.generations[0][0].generation_info["pieces"] == PIECES


def test_traces_name_the_provider_and_the_models() -> None:
    for runnable in (chat, llm):
        params = runnable._get_ls_params()
        assert params["ls_provider"] == "nudging"
        assert params["ls_model_name"] == "greeter + greeter"


# counting


def test_token_counts_equal_the_reported_usage() -> None:
    messages: list[BaseMessage] = [SystemMessage("Be brief."), HumanMessage("Hi there")]
    tools = [{"type": "function", "function": {"name": "add", "description": "Add.", "parameters": {"type": "object"}}}]
    with_tools = chat.bind_tools(tools).invoke(messages)
    assert chat.get_num_tokens_from_messages(messages) == chat.invoke(messages).usage_metadata["input_tokens"]  # type: ignore[index]
    assert chat.get_num_tokens_from_messages(messages, tools) == with_tools.usage_metadata["input_tokens"]  # type: ignore[index]
    assert chat.get_num_tokens("Hi there") == llm.get_num_tokens("Hi there") == 2
    assert len(chat.get_token_ids("Hi there")) == 2


def test_logprobs_on_request() -> None:
    for message in [chat.invoke("Hi", logprobs=True), add_up(list(chat.stream("Hi", logprobs=True)))]:  # type: ignore[arg-type]
        tokens = message.response_metadata["logprobs"]["content"]
        assert "".join(token["token"] for token in tokens) == TEXT
        assert all(token["logprob"] == 0 for token in tokens)
    assert "logprobs" not in chat.invoke("Hi").response_metadata


# features of LangChain


async def test_astream_events_has_one_stream_event_per_chunk() -> None:
    events = [event async for event in chat.astream_events("Hi")]
    chunks = [event["data"]["chunk"] for event in events if event["event"] == "on_chat_model_stream"]
    assert "".join(chunk.text for chunk in chunks) == TEXT
    assert len([chunk for chunk in chunks if chunk.usage_metadata]) == 1
    assert [chunk.chunk_position for chunk in chunks].count("last") == 1


def test_output_version_v1_returns_content_blocks() -> None:
    blocks = ChatNudging(**FIELDS, output_version="v1")
    assert blocks.invoke("Hi").content == [{"type": "text", "text": TEXT}]
    assert add_up(list(blocks.stream("Hi"))).text == TEXT  # type: ignore[arg-type]


def test_the_rate_limiter_is_acquired_before_each_answer() -> None:
    calls: list[bool] = []

    class Limiter(BaseRateLimiter):
        def acquire(self, *, blocking: bool = True) -> bool:
            calls.append(blocking)
            return True

        async def aacquire(self, *, blocking: bool = True) -> bool:
            return self.acquire(blocking=blocking)

    limited = ChatNudging(**FIELDS, rate_limiter=Limiter())
    limited.invoke("Hi")
    list(limited.stream("Hi"))
    assert len(calls) == 2


def test_the_cache_key_includes_the_options_of_the_call() -> None:
    cached = ChatNudging(**FIELDS, cache=InMemoryCache())
    plain = cached.invoke("Hi").content
    assert cached.invoke("Hi", regex="[a-c]").content != plain
    assert cached.invoke("Hi", schema={"type": "null"}).content == "null"
    assert cached.invoke("Hi", max_tokens=1).content == "Why,"
    other = cached.invoke("Hi", model=ScriptedModel("Bye.", name="other"))
    assert other.response_metadata["model_name"] == "other + greeter"
    assert cached.invoke("Hi").content == plain


def test_the_option_model_replaces_the_base_model_for_one_call() -> None:
    other = ScriptedModel(TEXT, name="other")
    for runnable, name in [(chat, "model_name"), (llm, "model_name")]:
        result = runnable.generate(["Hi"], model=other) if runnable is llm else None  # type: ignore[arg-type]
        metadata = result.llm_output if result else chat.invoke("Hi", model=other).response_metadata
        assert metadata[name] == "other + greeter"  # type: ignore[index]


async def test_the_event_loop_is_not_blocked_and_cancelling_stops_decoding() -> None:
    calls: list[str] = []

    def slowly(prompt: str, text: str) -> list[Step]:
        calls.append(text)
        time.sleep(0.05)
        return [Step(" more", 1.0)] * 16

    model = ChatNudging(base_model=ScriptedModel("", probability=0), nudging_model=ScriptedModel(slowly))
    task = asyncio.create_task(model.ainvoke("Hi"))
    ticks = 0
    while len(calls) < 3:
        await asyncio.sleep(0.005)
        ticks += 1
    assert ticks > 5
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    before = len(calls)
    await asyncio.sleep(0.2)
    assert len(calls) == before
