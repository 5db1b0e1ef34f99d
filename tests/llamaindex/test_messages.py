"""Tests of histories that other LLM classes left behind."""

from datetime import date
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from nudging.prompting.conversation import check_prompt
from openai.types.chat import ChatCompletionMessageFunctionToolCall
from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall, ChoiceDeltaToolCallFunction
from openai.types.chat.chat_completion_message_function_tool_call import Function
from recorders import recorded_prompts

from llamaindex_nudging import NudgingLLM, NudgingLLMError
from llamaindex_nudging.messages import conversation

QUESTION = ChatMessage(role="user", content="What is the weather in Paris?")
ARGUMENTS = '{"city": "Paris"}'
CALL = {"name": "weather", "arguments": {"city": "Paris"}}
CACHE_POINT = CachePoint(cache_control=CacheControl(type="ephemeral"))
MEDIA = {
    "image": ImageBlock(url="http://x/y.png"),
    "audio": AudioBlock(audio=b"", format="wav"),
    "video": VideoBlock(url="http://x/y.mp4"),
    "document": DocumentBlock(data=b"%PDF", document_mimetype="application/pdf"),
}


def prompt_of(*messages: ChatMessage) -> str:
    """Return the prompt of a history that is followed by a question."""
    model, prompts = recorded_prompts()
    NudgingLLM(base_model=model, nudging_model=model).chat([QUESTION, *messages, ChatMessage(content="And now?")])
    return prompts[0]


def assistant(**additional: Any) -> ChatMessage:
    return ChatMessage(role="assistant", content="", additional_kwargs=additional)


def result(**additional: Any) -> ChatMessage:
    return ChatMessage(role="tool", content="sunny", additional_kwargs=additional)


CALLS = {
    "a block": ChatMessage(
        role="assistant", blocks=[ToolCallBlock(tool_call_id="x", tool_name="weather", tool_kwargs={"city": "Paris"})]
    ),
    "a block with arguments as text": ChatMessage(
        role="assistant", blocks=[ToolCallBlock(tool_call_id="x", tool_name="weather", tool_kwargs=ARGUMENTS)]
    ),
    "a block without an id": ChatMessage(
        role="assistant", blocks=[ToolCallBlock(tool_name="weather", tool_kwargs={"city": "Paris"})]
    ),
    "an object of OpenAI": assistant(
        tool_calls=[
            ChatCompletionMessageFunctionToolCall(
                id="x", type="function", function=Function(name="weather", arguments=ARGUMENTS)
            )
        ]
    ),
    "a streamed object of OpenAI": assistant(
        tool_calls=[
            ChoiceDeltaToolCall(
                index=0, id="x", function=ChoiceDeltaToolCallFunction(name="weather", arguments=ARGUMENTS)
            )
        ]
    ),
    "a dictionary of OpenAI": assistant(
        tool_calls=[{"id": "x", "type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}]
    ),
    "OpenAI's older shape": assistant(function_call={"name": "weather", "arguments": ARGUMENTS}),
    "Anthropic's shape": assistant(
        tool_calls=[{"type": "tool_use", "id": "x", "name": "weather", "input": {"city": "Paris"}}]
    ),
    "Ollama's shape": assistant(tool_calls=[{"function": {"name": "weather", "arguments": {"city": "Paris"}}}]),
}


@pytest.mark.parametrize("answer", [result(tool_call_id="x"), result(), result(name="weather")])
@pytest.mark.parametrize("shape", CALLS)
def test_calls_of_other_classes_are_understood(shape: str, answer: ChatMessage) -> None:
    turns = check_prompt(conversation([QUESTION, CALLS[shape], answer]))
    assert isinstance(turns, list)
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool"]
    (call,) = turns[1]["tool_calls"]
    assert call["function"] == CALL
    assert turns[2]["tool_call_id"] == call["id"]
    prompt = prompt_of(CALLS[shape], answer)
    assert '"city": "Paris"' in prompt
    assert "<tool_response>\nsunny" in prompt


def test_a_function_answers_a_call() -> None:
    answer = ChatMessage(role=MessageRole.FUNCTION, content="sunny", additional_kwargs={"name": "weather"})
    assert "<tool_response>\nsunny" in prompt_of(CALLS["OpenAI's older shape"], answer)


@pytest.mark.parametrize(
    "answer", [result(tool_call_id="lost"), result(), ChatMessage(role="function", content="sunny")]
)
def test_a_result_without_its_call_is_in_the_prompt(answer: ChatMessage) -> None:
    assert "sunny" in prompt_of(answer)


def test_a_call_without_its_result_is_in_the_prompt() -> None:
    assert '"city": "Paris"' in prompt_of(CALLS["a block"])


@pytest.mark.parametrize(
    "call",
    [
        ToolCallBlock(tool_name="weather", tool_kwargs='{"city": "Par'),
        ToolCallBlock(tool_name="weather", tool_kwargs="[1]"),
        ToolCallBlock(tool_name="", tool_kwargs=""),
        ToolCallBlock(tool_name="weather", tool_kwargs={"city": "Paris", "on": date(2026, 1, 2), "raw": b"\xff"}),
        ToolCallBlock(tool_name="weather", tool_kwargs={"city": object()}),
    ],
)
def test_malformed_arguments_do_not_end_a_conversation(call: ToolCallBlock) -> None:
    message = ChatMessage(role="assistant", blocks=[TextBlock(text="Let me look."), call])
    prompt = prompt_of(message, result())
    assert "Let me look." in prompt
    assert "weather" in prompt
    assert "sunny" in prompt


@pytest.mark.parametrize("kind", MEDIA)
def test_media_of_a_tool_become_a_placeholder(kind: str) -> None:
    blocks = [TextBlock(text="see:"), MEDIA[kind]]
    answer = ChatMessage(role="tool", blocks=blocks, additional_kwargs={"tool_call_id": "x"})
    assert f"see:\n[{kind}]" in prompt_of(CALLS["a block"], answer)


@pytest.mark.parametrize("kind", MEDIA)
def test_media_of_the_user_raise(kind: str) -> None:
    with pytest.raises(NudgingLLMError, match=f"content of type '{kind}': only text is supported"):
        prompt_of(ChatMessage(role="user", blocks=[TextBlock(text="see:"), MEDIA[kind]]))


def test_media_of_the_assistant_are_left_out() -> None:
    assert "I drew it." in prompt_of(
        ChatMessage(role="assistant", blocks=[TextBlock(text="I drew it."), MEDIA["image"]])
    )


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_thoughts_and_cache_points_are_left_out(role: str) -> None:
    blocks = [CACHE_POINT, TextBlock(text="one"), ThinkingBlock(content="hm"), TextBlock(text="two"), CACHE_POINT]
    (turn,) = conversation([ChatMessage(role=role, blocks=blocks)])
    assert "".join(turn["content"]) == "one\ntwo"
    assert "hm" not in prompt_of(ChatMessage(role=role, blocks=blocks))


def test_quoted_texts_are_part_of_a_message() -> None:
    blocks = [
        CitableBlock(
            title="a book", source="library", content=[TextBlock(text="It is old."), TextBlock(text="And tall.")]
        ),
        CitationBlock(cited_content="So they say.", title="b", source="c", additional_location_info={}),
    ]
    assert "It is old.\nAnd tall.\nSo they say." in prompt_of(ChatMessage(role="user", blocks=blocks))


@pytest.mark.parametrize("message", [ChatMessage(role="assistant"), ChatMessage(role="assistant", content=None)])
def test_a_message_may_have_no_text(message: ChatMessage) -> None:
    assert "What is the weather" in prompt_of(message)
    assert prompt_of(ChatMessage(role="assistant", blocks=[TextBlock.model_construct(text=None)]))  # type: ignore[arg-type]


def test_metadata_of_other_classes_is_not_in_the_prompt() -> None:
    metadata = {"session_id": "s", "cache_control": {"type": "ephemeral"}, "pieces": ["p"], "tool_call_id": "returned"}
    message = ChatMessage(role="assistant", content="sunny", additional_kwargs=metadata)
    assert conversation([message]) == [{"role": "assistant", "content": ["sunny"]}]
