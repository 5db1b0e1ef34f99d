"""Tests of `stream_events(version="v3")`: authors on every delta, and the message of `invoke` at the end."""

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from nudging import ScriptedModel

from langchain_nudging import ChatNudging

TEXT = "Why, hello there! How can I help you today? There is much that I know, and more that I do not."
FORCED = '{"name": "add", "arguments": {"a": 1, "b": 2}}'
CALLS = f"Let me see. <tool_call>{FORCED}</tool_call><tool_call>{FORCED}</tool_call>"
MALFORMED = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": }</tool_call>'


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def say(words: str) -> str:
    """Say it aloud."""
    return words


def model(text: str, choice: str) -> Any:
    scripted = ScriptedModel(text)
    return ChatNudging(base_model=scripted, nudging_model=scripted).bind_tools([add], tool_choice=choice)


def without_ids(calls: Sequence[Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in call.items() if key != "id"} for call in calls]


def same(message: AIMessage, expected: AIMessage) -> None:
    assert message.text == expected.text
    assert without_ids(message.tool_calls) == without_ids(expected.tool_calls)
    assert without_ids(message.invalid_tool_calls) == without_ids(expected.invalid_tool_calls)
    assert message.usage_metadata == expected.usage_metadata
    assert message.response_metadata == expected.response_metadata | {"output_version": "v1"}


@pytest.mark.parametrize(
    ("text", "choice"), [(TEXT, "auto"), (FORCED, "any"), (FORCED, "auto"), (CALLS, "auto"), (MALFORMED, "auto")]
)
async def test_the_final_message_is_that_of_invoke(text: str, choice: str) -> None:
    chat = model(text, choice)
    expected = chat.invoke("Hi")
    same(chat.stream_events("Hi", version="v3").output, expected)
    same(await (await chat.astream_events("Hi", version="v3")).output, expected)


def test_each_delta_has_its_author() -> None:
    deltas = [event["delta"] for event in model(TEXT, "auto").stream_events("Hi", version="v3") if "delta" in event]
    pieces = model(TEXT, "auto").invoke("Hi").response_metadata["pieces"]
    assert [(delta["text"], delta["author"]) for delta in deltas] == [(one["text"], one["author"]) for one in pieces]


def test_the_arguments_of_a_forced_call_come_as_they_are_written() -> None:
    arguments = f'{{"words": "{"one and two and three " * 8}"}}'
    scripted = ScriptedModel(f'{{"name": "say", "arguments": {arguments}}}')
    chat: Any = ChatNudging(base_model=scripted, nudging_model=scripted).bind_tools([say], tool_choice="any")
    events = list(chat.stream_events("Hi", version="v3"))
    parts = [event["delta"]["args"] for event in events if "delta" in event]
    assert len(parts) > 10
    assert "".join(parts) == arguments
    (started,) = [event["content"] for event in events if event["event"] == "content-block-start"]
    assert (started["name"], started["args"]) == ("say", "")


def test_each_block_begins_and_ends_once_in_order() -> None:
    events = list(model(CALLS, "auto").stream_events("Hi", version="v3"))
    assert (events[0]["event"], events[-1]["event"]) == ("message-start", "message-finish")
    for kind in ("content-block-start", "content-block-finish"):
        assert [event["index"] for event in events if event["event"] == kind] == [0, 1, 2]
