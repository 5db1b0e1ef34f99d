"""Tests of tool calling in LlamaIndex, complete and streamed.

The models are scripted, to test the translation only. `test_engines.py` uses real models.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ThinkingBlock, ToolCallBlock
from llama_index.core.program import FunctionCallingProgram
from llama_index.core.tools import FunctionTool
from nudging import ScriptedModel
from pydantic import BaseModel
from recorders import recorded_prompts

from llamaindex_nudging import NudgingLLM, NudgingLLMError


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def now() -> str:
    """The time."""
    return "noon"


def say(words: str) -> str:
    """Say it aloud."""
    return words


ADD, NOW, SAY = (FunctionTool.from_defaults(function) for function in (add, now, say))
FORCED = '{"name": "add", "arguments": {"a": 1, "b": 2}}'
HERMES = f"Let me see. <tool_call>\n{FORCED}\n</tool_call>"
MALFORMED = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": }</tool_call>'
LONG = f'{{"name": "say", "arguments": {{"words": "{"one and two and three " * 8}"}}}}'
CALL = ("add", {"a": 1, "b": 2})


def scripted(text: str) -> NudgingLLM:
    model = ScriptedModel(text)
    return NudgingLLM(base_model=model, nudging_model=model)


def calls(llm: NudgingLLM, response: ChatResponse) -> list[tuple[str, dict[str, Any]]]:
    selections = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
    assert len({selection.tool_id for selection in selections}) == len(selections)
    return [(selection.tool_name, selection.tool_kwargs) for selection in selections]


async def all_methods(llm: NudgingLLM, tools: Sequence[FunctionTool], **kwargs: Any) -> list[ChatResponse]:
    streamed = [r async for r in await llm.astream_chat_with_tools(tools, "1 + 2?", **kwargs)]
    return [
        llm.chat_with_tools(tools, "1 + 2?", **kwargs),
        await llm.achat_with_tools(tools, "1 + 2?", **kwargs),
        list(llm.stream_chat_with_tools(tools, "1 + 2?", **kwargs))[-1],
        streamed[-1],
    ]


@pytest.mark.parametrize(
    ("text", "kwargs", "content", "expected"),
    [
        (FORCED, {"tool_required": True}, "", [CALL]),
        (FORCED, {"tool_choice": "any"}, "", [CALL]),
        (FORCED, {"tool_choice": "add"}, "", [CALL]),
        (FORCED, {"tool_choice": {"type": "function", "function": {"name": "add"}}}, "", [CALL]),
        (FORCED, {}, "", [CALL]),
        (HERMES, {"tool_choice": "auto", "tool_required": True}, "Let me see.", [CALL]),
        (HERMES * 2, {}, "Let me see. Let me see.", [CALL]),
        (HERMES * 2, {"allow_parallel_tool_calls": True}, "Let me see. Let me see.", [CALL, CALL]),
        (f"{FORCED}\n{FORCED}", {"tool_required": True, "allow_parallel_tool_calls": True}, "", [CALL, CALL]),
        (FORCED, {"tool_choice": "add", "allow_parallel_tool_calls": True}, "", [CALL]),
        (HERMES, {"tool_choice": "none"}, HERMES, []),
        ("It is 3, I think.", {}, "It is 3, I think.", []),
    ],
)
async def test_each_method_returns_the_same_tool_calls(
    text: str, kwargs: dict[str, Any], content: str, expected: list[Any]
) -> None:
    llm = scripted(text)
    for response in await all_methods(llm, [ADD, NOW], **kwargs):
        assert (response.message.content or "") == content
        assert calls(llm, response) == expected


def test_each_streamed_response_has_readable_calls_with_a_stable_id() -> None:
    llm = scripted(LONG)
    responses = list(llm.stream_chat_with_tools([SAY], "Speak.", tool_required=True))
    selections = [s for r in responses for s in llm.get_tool_calls_from_response(r, error_on_no_tool_call=False)]
    words = [selection.tool_kwargs.get("words", "") for selection in selections]
    assert {selection.tool_name for selection in selections} == {"say"}
    assert len({selection.tool_id for selection in selections}) == 1
    assert len(set(words)) > 10
    assert all(words[-1].startswith(word) for word in words)


async def test_content_before_a_call_is_streamed_once() -> None:
    llm = scripted(HERMES)
    responses = [response async for response in await llm.astream_chat_with_tools([ADD], "1 + 2?")]
    assert "".join(response.delta or "" for response in responses) == "Let me see."
    assert responses[-1].message.content == "Let me see."
    assert {response.additional_kwargs["author"] for response in responses[:-1]} <= {"base", "nudging"}


def test_calls_of_two_answers_have_different_ids() -> None:
    llm = scripted(FORCED)
    responses = [llm.chat_with_tools([ADD], "1 + 2?") for _ in range(2)]
    first, second = (llm.get_tool_calls_from_response(response)[0] for response in responses)
    assert first.tool_id != second.tool_id


def test_a_malformed_call_stays_in_the_content() -> None:
    llm = scripted(MALFORMED)
    response = llm.chat_with_tools([ADD], "1 + 2?")
    assert response.message.content == MALFORMED
    assert response.additional_kwargs["invalid_tool_calls"][0]["name"] == "add"
    with pytest.raises(NudgingLLMError, match="the model called no tool, it answered '<tool_call>"):
        llm.get_tool_calls_from_response(response)
    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []


def test_the_grammar_completes_a_forced_call() -> None:
    llm = scripted('{"name": "add", "arguments": {"a": 1, ')
    assert calls(llm, llm.chat_with_tools([ADD], "Hi", tool_required=True)) == [("add", {"a": 1, "b": 0})]


async def test_predict_and_call_runs_the_tool() -> None:
    llm = scripted(FORCED)
    assert llm.predict_and_call([ADD, NOW], "1 + 2?", tool_required=True).response == "3"
    assert (await llm.apredict_and_call([ADD, NOW], "1 + 2?")).response == "3"
    several = scripted(f"{FORCED}\n{FORCED}")
    both = several.predict_and_call([ADD], "1 + 2?", tool_required=True, allow_parallel_tool_calls=True)
    assert [output.raw_output for output in both.sources] == [3, 3]


def test_a_function_calling_program_returns_its_object() -> None:
    class Add(BaseModel):
        a: int
        b: int

    program = FunctionCallingProgram.from_defaults(
        Add, prompt_template_str="Add {what}", llm=scripted(FORCED.replace("add", "Add"))
    )
    assert program(what="1 and 2") == Add(a=1, b=2)
    *_, final = program.stream_call(what="1 and 2")
    assert final == Add(a=1, b=2)


def test_extra_calls_are_dropped() -> None:
    llm = scripted(HERMES * 2)
    response = llm.chat_with_tools([ADD], "1 + 2?", allow_parallel_tool_calls=True)
    assert calls(llm, llm._validate_chat_with_tools_response(response, [ADD])) == [CALL]
    assert len(response.message.additional_kwargs["tool_calls"]) == 1
    assert llm.predict_and_call([ADD], "1 + 2?").response == "3"


def test_the_chat_history_is_not_modified() -> None:
    history = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="Hi")]
    before = [message.model_copy(deep=True) for message in history]
    llm = scripted(FORCED)
    llm.chat_with_tools([ADD], "1 + 2?", chat_history=history, tool_required=True)
    llm.predict_and_call([ADD], ChatMessage(role="user", content="1 + 2?"), chat_history=history, tool_required=True)
    assert history == before


def test_tools_and_their_results_are_in_both_prompts() -> None:
    model, prompts = recorded_prompts()
    llm = NudgingLLM(base_model=model, nudging_model=model)
    called = ToolCallBlock(tool_call_id="x", tool_name="add", tool_kwargs={"a": 1, "b": 2})
    older = {"id": "x", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
    answered = ChatMessage(role="tool", content="three", additional_kwargs={"tool_call_id": "x"})
    returned = ChatMessage(
        role="assistant", content="three", additional_kwargs={"tool_call_id": "x"}
    )  # return_direct of an agent
    question = ChatMessage(role="user", content="1 + 2?")
    for assistant in [
        ChatMessage(role="assistant", blocks=[ThinkingBlock(content="hm"), called]),
        ChatMessage(role="assistant", blocks=[called.model_copy(update={"tool_kwargs": '{"a": 1, "b": 2}'})]),
        ChatMessage(role="assistant", content="", additional_kwargs={"tool_calls": [older]}),
    ]:
        prompts.clear()
        llm.chat_with_tools([ADD], "And 2 + 2?", chat_history=[question, assistant, answered, returned])
        assert all(part in prompts[0] for part in ("Add two numbers.", '"a": 1', "<tool_response>\nthree"))
        assert "hm" not in prompts[0]


def test_a_message_with_a_call_can_be_sent_back() -> None:
    llm = scripted(HERMES)
    message = llm.chat_with_tools([ADD], "1 + 2?").message
    (call,) = (block for block in message.blocks if isinstance(block, ToolCallBlock))
    answered = ChatMessage(role=MessageRole.TOOL, content="3", additional_kwargs={"tool_call_id": call.tool_call_id})
    llm.chat_with_tools([ADD], chat_history=[ChatMessage(role="user", content="1 + 2?"), message, answered])


def test_chat_accepts_tools() -> None:
    llm = scripted(FORCED)
    messages = [ChatMessage(role="user", content="1 + 2?")]
    assert calls(llm, llm.chat(messages, tools=[ADD], tool_choice="required")) == [CALL]
    assert calls(llm, llm.chat(messages, tools=[ADD.metadata.to_openai_tool()])) == [CALL]


def test_an_invalid_tool_choice_raises() -> None:
    llm = scripted(FORCED)
    with pytest.raises(NudgingLLMError, match="there is no such tool"):
        llm.chat_with_tools([ADD], "1 + 2?", tool_choice="subtract")
    with pytest.raises(NudgingLLMError, match="without tools"):
        llm.chat_with_tools([], "1 + 2?", tool_required=True)


@pytest.mark.parametrize(("written", "arguments"), [('{"a": 1, "b"', {"a": 1}), ("a=1", {}), ("[1]", {}), ("", {})])
def test_arguments_that_are_not_a_json_object_are_left_out(written: str, arguments: dict[str, Any]) -> None:
    block = ToolCallBlock(tool_name="add", tool_kwargs=written)
    response = ChatResponse(message=ChatMessage(role="assistant", blocks=[block]))
    (selection,) = scripted("").get_tool_calls_from_response(response)
    assert selection.tool_kwargs == arguments


async def test_concurrent_calls_return_their_own_answers() -> None:
    llms = [scripted(FORCED.replace("1", str(number))) for number in range(8)]
    responses = await asyncio.gather(*(llm.achat_with_tools([ADD], "?", tool_required=True) for llm in llms))
    assert [calls(llms[0], response)[0][1]["a"] for response in responses] == list(range(8))
