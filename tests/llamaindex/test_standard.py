"""The checks of LangChain's standard suite, of which LlamaIndex has no counterpart, on the real demo pair."""

from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import AudioBlock, ChatMessage, ImageBlock, ToolCallBlock
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from nudging import ChatTemplateError, ModelError, PromptError
from pydantic import BaseModel

from llamaindex_nudging import NudgingLLM

pytestmark = pytest.mark.standard


def said(role: str, content: str, **additional: Any) -> ChatMessage:
    return ChatMessage(role=role, content=content, additional_kwargs=additional)


def magic_function(input: int) -> int:  # noqa: A002 (LangChain's)
    """Apply a magic function to an input."""
    return input + 2


def magic_function_no_args() -> int:
    """Compute a magic function."""
    return 5


MAGIC, NO_ARGS = FunctionTool.from_defaults(magic_function), FunctionTool.from_defaults(magic_function_no_args)


@pytest.fixture(scope="module")
def llm(pair: tuple[Path, Path]) -> NudgingLLM:
    return NudgingLLM(base_model=pair[0], nudging_model=pair[1], max_tokens=24)


async def test_every_way_gives_one_answer_and_its_usage(llm: NudgingLLM) -> None:
    asked = [said("user", "What is the capital of France?")]
    last = [*llm.stream_chat(asked)][-1], [r async for r in await llm.astream_chat(asked)][-1]
    chats = [llm.chat(asked), await llm.achat(asked), *last]
    completions = [
        llm.complete("What is the capital of France?"),
        await llm.acomplete("What is the capital of France?"),
    ]
    completions += [[*llm.stream_complete("What is the capital of France?")][-1]]
    assert len({*(chat.message.content for chat in chats), *(completion.text for completion in completions)}) == 1
    assert "Paris" in completions[0].text
    for response in [*chats, *completions]:
        usage = response.raw["usage"]  # type: ignore[index]
        assert usage["prompt_tokens"] > 5
        assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]


@pytest.mark.parametrize(
    "messages",
    [
        [said("user", "hello"), said("assistant", "hello"), said("user", "how are you")],
        [said("system", "hello"), said("system", "hello"), said("user", "hello"), said("user", "how are you")],
        [said("user", "hello", name="example_user")],
        [said("developer", "Be kind."), said("user", "hello"), said("chatbot", "hello"), said("user", "how are you")],
    ],
    ids=["a conversation", "double messages", "a message with a name", "other roles"],
)
def test_conversations_are_answered(llm: NudgingLLM, messages: list[ChatMessage]) -> None:
    assert llm.chat(messages).message.content


def test_a_stop_sequence_ends_the_answer_and_is_not_in_it(llm: NudgingLLM) -> None:
    whole = llm.complete("What is the capital of France?").text
    stopped = llm.complete("What is the capital of France?", stop=["Paris"]).text
    assert whole.startswith(stopped)
    assert "Paris" not in stopped


@pytest.mark.parametrize("choice", ["any", "magic_function", True])
def test_a_forced_call_has_arguments_of_their_type(llm: NudgingLLM, choice: Any) -> None:
    response = llm.chat_with_tools([MAGIC], "What is the value of magic_function(3)? Use the tool.", tool_choice=choice)
    (call,) = llm.get_tool_calls_from_response(response)
    assert (call.tool_name, call.tool_kwargs) == ("magic_function", {"input": 3})


async def test_a_tool_may_have_no_arguments(llm: NudgingLLM) -> None:
    response = await llm.achat_with_tools(
        [NO_ARGS], "What is the value of magic_function_no_args()?", tool_required=True
    )
    (call,) = llm.get_tool_calls_from_response(response)
    assert (call.tool_name, call.tool_kwargs) == ("magic_function_no_args", {})


def test_tool_calls_in_the_history_are_understood(llm: NudgingLLM) -> None:
    called = ToolCallBlock(tool_call_id="abc", tool_name="magic_function", tool_kwargs={"input": 3})
    history = [
        said("user", "What is magic_function(3)?"),
        ChatMessage(role="assistant", blocks=[called]),
        said("tool", "5", tool_call_id="abc", name="magic_function"),
    ]
    assert llm.chat_with_tools([MAGIC], chat_history=history).message.content
    assert llm.chat_with_tools([MAGIC], "And of 4?", chat_history=history, tool_required=True)


def test_unicode_stays_as_it_is(llm: NudgingLLM) -> None:
    def set_customer(name: str) -> str:
        """Set the name of the customer."""
        return name

    asked = "Set the customer's name to 你好啊集团."
    response = llm.predict_and_call([FunctionTool.from_defaults(set_customer)], asked, tool_required=True)
    assert "\\u" not in str(response)
    assert response.response


def test_objects_may_have_what_pydantic_has(llm: NudgingLLM) -> None:
    class Colour(Enum):
        RED = "red"
        BLUE = "blue"

    class Joke(BaseModel):
        """A joke."""

        setup: str
        punchline: str | None = None
        told: date
        colour: Colour
        rating: int | None = None

    class Jokes(BaseModel):
        best: Joke
        others: list[Joke]

    prompt = PromptTemplate("Tell jokes about {what}.")
    longer = llm.model_copy(update={"max_tokens": 160})
    assert isinstance(longer.structured_predict(Jokes, prompt, what="cats"), Jokes)


@pytest.mark.parametrize("block", [ImageBlock(url="http://x/y.png"), AudioBlock(audio=b"", format="wav")])
def test_what_cannot_be_seen_or_heard_is_refused(llm: NudgingLLM, block: Any) -> None:
    with pytest.raises(PromptError, match="only text can be nudged"):
        llm.chat([ChatMessage(role="user", blocks=[block])])


def test_a_model_that_there_is_not_is_an_error_of_ours(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not there"):
        NudgingLLM(base_model=tmp_path / "not there", nudging_model=pair[1]).complete("Hi")
    with pytest.raises(ChatTemplateError):
        NudgingLLM(base_model=pair[0], nudging_model=pair[0]).complete("Hi")
