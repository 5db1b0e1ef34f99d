"""The checks of LangChain's standard suite, for LlamaIndex, on the real demo pair. LlamaIndex has no such suite."""

from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import AudioBlock, ChatMessage, ImageBlock, ToolCallBlock
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from nudging import ModelError
from pydantic import BaseModel

from llamaindex_nudging import NudgingLLM, NudgingLLMError

pytestmark = pytest.mark.standard


def message(role: str, content: str, **additional: Any) -> ChatMessage:
    return ChatMessage(role=role, content=content, additional_kwargs=additional)


def magic_function(input: int) -> int:  # noqa: A002 (the name in LangChain's suite)
    """Apply a magic function to an input."""
    return input + 2


def magic_function_no_args() -> int:
    """Compute a magic function."""
    return 5


MAGIC, NO_ARGS = FunctionTool.from_defaults(magic_function), FunctionTool.from_defaults(magic_function_no_args)


@pytest.fixture(scope="module")
def llm(pair: tuple[Path, Path]) -> NudgingLLM:
    return NudgingLLM(base_model=pair[0], nudging_model=pair[1], max_tokens=24)


async def test_each_method_returns_the_same_answer_and_its_usage(llm: NudgingLLM) -> None:
    messages = [message("user", "What is the capital of France?")]
    streamed = [*llm.stream_chat(messages)][-1], [r async for r in await llm.astream_chat(messages)][-1]
    chats = [llm.chat(messages), await llm.achat(messages), *streamed]
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
        [message("user", "hello"), message("assistant", "hello"), message("user", "how are you")],
        [
            message("system", "hello"),
            message("system", "hello"),
            message("user", "hello"),
            message("user", "how are you"),
        ],
        [message("user", "hello", name="example_user")],
        [
            message("developer", "Be kind."),
            message("user", "hello"),
            message("chatbot", "hello"),
            message("user", "how are you"),
        ],
    ],
    ids=["a conversation", "double messages", "a message with a name", "other roles"],
)
def test_conversations_are_answered(llm: NudgingLLM, messages: list[ChatMessage]) -> None:
    assert llm.chat(messages).message.content


def test_a_stop_sequence_ends_the_answer_and_is_not_in_it(llm: NudgingLLM) -> None:
    complete = llm.complete("What is the capital of France?").text
    stopped = llm.complete("What is the capital of France?", stop=["Paris"]).text
    assert complete.startswith(stopped)
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


def test_tool_calls_in_the_history_are_accepted(llm: NudgingLLM) -> None:
    called = ToolCallBlock(tool_call_id="abc", tool_name="magic_function", tool_kwargs={"input": 3})
    history = [
        message("user", "What is magic_function(3)?"),
        ChatMessage(role="assistant", blocks=[called]),
        message("tool", "5", tool_call_id="abc", name="magic_function"),
    ]
    assert llm.chat_with_tools([MAGIC], chat_history=history).message.content
    assert llm.chat_with_tools([MAGIC], "And of 4?", chat_history=history, tool_required=True)


def test_unicode_is_not_escaped(llm: NudgingLLM) -> None:
    def set_customer(name: str) -> str:
        """Set the name of the customer."""
        return name

    question = "Set the customer's name to 你好啊集团."
    response = llm.predict_and_call([FunctionTool.from_defaults(set_customer)], question, tool_required=True)
    assert "\\u" not in str(response)
    assert response.response


def test_objects_may_have_enums_dates_defaults_and_nested_models(llm: NudgingLLM) -> None:
    class Colour(Enum):
        RED = "red"
        BLUE = "blue"

    class Joke(BaseModel):
        """A joke."""

        setup: str
        punchline: str | None = None
        told_on: date
        colour: Colour
        rating: int | None = None

    class Jokes(BaseModel):
        best: Joke
        others: list[Joke]

    prompt = PromptTemplate("Tell jokes about {what}.")
    longer = llm.model_copy(update={"max_tokens": 160})
    assert isinstance(longer.structured_predict(Jokes, prompt, what="cats"), Jokes)


@pytest.mark.parametrize("block", [ImageBlock(url="http://x/y.png"), AudioBlock(audio=b"", format="wav")])
def test_images_and_audio_raise(llm: NudgingLLM, block: Any) -> None:
    with pytest.raises(NudgingLLMError, match="only text is supported"):
        llm.chat([ChatMessage(role="user", blocks=[block])])


def test_an_unusable_model_raises_a_nudging_error(pair: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not there"):
        NudgingLLM(base_model=tmp_path / "not there", nudging_model=pair[1]).complete("Hi")
    with pytest.raises(NudgingLLMError, match="has no chat template"):
        NudgingLLM(base_model=pair[0], nudging_model=pair[0]).complete("Hi")
