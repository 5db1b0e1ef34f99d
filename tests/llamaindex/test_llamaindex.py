"""A nudged model in LlamaIndex: every way to call it gives what the engine gives, and says who wrote what."""

from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMCompletionEndEvent
from llama_index.core.prompts import PromptTemplate
from nudging import Nudger, PromptError, ScriptedModel, SettingsError, Step
from pydantic import ValidationError

from llamaindex_nudging import NudgingLLM

TEXT = "Why, hello there! How can I help you today? There is much that I know, and more that I do not."
MODEL = ScriptedModel(TEXT, name="greeter", context_length=1000)
FIELDS: dict[str, Any] = {"base_model": MODEL, "nudging_model": MODEL}
EXPECTED = Nudger(**FIELDS).generate("Hi")
PIECES = [(piece.text, piece.author) for piece in EXPECTED.pieces]
HI = [ChatMessage(role="user", content="Hi")]

llm = NudgingLLM(**FIELDS)


def check(response: Any, text: str) -> None:
    assert text == TEXT
    assert response.additional_kwargs["finish_reason"] == "stop"
    assert response.additional_kwargs["nudge_ratio"] == EXPECTED.nudge_ratio
    assert response.additional_kwargs["nudging_words"] == EXPECTED.nudging_words
    assert response.raw["usage"]["completion_tokens"] == EXPECTED.usage.completion_tokens
    assert response.raw["usage"]["total_tokens"] == EXPECTED.usage.total_tokens


def check_stream(responses: list[Any], texts: list[str]) -> None:
    *parts, last = responses
    assert [(part.delta, part.additional_kwargs["author"]) for part in parts] == PIECES
    assert "".join(response.delta for response in responses) == TEXT
    assert all(TEXT.startswith(text) for text in texts)
    check(last, texts[-1])


def test_complete() -> None:
    response = llm.complete("Hi")
    check(response, response.text)


def test_the_script_has_two_authors() -> None:
    assert {author for _, author in PIECES} == {"base", "nudging"}


async def test_acomplete() -> None:
    response = await llm.acomplete("Hi")
    check(response, response.text)


def test_chat() -> None:
    response = llm.chat(HI)
    assert response.message.role == MessageRole.ASSISTANT
    check(response, response.message.content)


async def test_achat() -> None:
    response = await llm.achat(HI)
    check(response, response.message.content)


def test_stream_complete() -> None:
    responses = list(llm.stream_complete("Hi"))
    check_stream(responses, [response.text for response in responses])


async def test_astream_complete() -> None:
    responses = [response async for response in await llm.astream_complete("Hi")]
    check_stream(responses, [response.text for response in responses])


def test_stream_chat() -> None:
    responses = list(llm.stream_chat(HI))
    check_stream(responses, [response.message.content for response in responses])


async def test_astream_chat() -> None:
    responses = [response async for response in await llm.astream_chat(HI)]
    check_stream(responses, [response.message.content for response in responses])


def test_templates_go_through_the_chat() -> None:
    assert llm.predict(PromptTemplate("Greet {name}"), name="me") == TEXT
    assert "".join(llm.stream(PromptTemplate("Greet {name}"), name="me")) == TEXT


def test_every_call_is_one_event_and_counted_once() -> None:
    ends: list[Any] = []

    class Ends(BaseEventHandler):
        def handle(self, event: Any, **_: Any) -> None:
            if isinstance(event, LLMChatEndEvent | LLMCompletionEndEvent):
                ends.append(event)

    dispatcher = get_dispatcher()
    handler = Ends()
    dispatcher.add_event_handler(handler)
    try:
        counter = TokenCountingHandler(tokenizer=str.split)
        counted = NudgingLLM(**FIELDS, callback_manager=CallbackManager([counter]))
        counted.chat(HI)
        counted.complete("Hi")
        list(counted.stream_chat(HI))
        list(counted.stream_complete("Hi"))
    finally:
        dispatcher.event_handlers.remove(handler)
    assert len(ends) == 4
    assert len(counter.llm_token_counts) == 4
    assert {count.completion_token_count for count in counter.llm_token_counts} == {EXPECTED.usage.completion_tokens}


def test_the_metadata_is_that_of_the_models() -> None:
    metadata = NudgingLLM(**FIELDS, max_tokens=99).metadata
    assert metadata.context_window == 1000
    assert metadata.num_output == 99
    assert metadata.is_chat_model
    assert metadata.model_name == "greeter + greeter"


def test_roles_are_translated() -> None:
    seen: list[str] = []

    def listen(prompt: str, text: str) -> list[Step]:
        seen.append(prompt)
        return [Step("yes", 1.0), Step("", 1.0, end=True)]

    listener = NudgingLLM(base_model=MODEL, nudging_model=ScriptedModel(listen))
    roles = [MessageRole.DEVELOPER, MessageRole.USER, MessageRole.MODEL, MessageRole.USER]
    listener.chat([ChatMessage(role=role, blocks=[TextBlock(text=f"{n}")]) for n, role in enumerate(roles)])
    assert seen == ["system: 0\nuser: 1\nassistant: 2\nuser: 3\nassistant: "]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (
            ChatMessage(role="user", blocks=[ImageBlock(url="http://x/y.png")]),
            "message 1 has a content of type 'image'",
        ),
        (ChatMessage(role="tool", content="42"), "message 1 answers the tool call None"),
        (ChatMessage(role="user", content=""), "the prompt is empty"),
    ],
)
def test_what_is_not_text_is_refused(message: ChatMessage, error: str) -> None:
    with pytest.raises(PromptError, match=error):
        llm.chat([message])


def test_settings_can_be_given_per_call_and_are_checked() -> None:
    assert llm.complete("Hi", stop=["!"]).text == "Why, hello there"
    assert llm.chat(HI, max_tokens=1).message.content == "Why,"
    with pytest.raises(SettingsError, match="no setting 'gamma'"):
        llm.complete("Hi", gamma=0.2)
    with pytest.raises(ValidationError, match="threshold"):
        NudgingLLM(**FIELDS, threshold=2)


def test_an_exception_inside_a_stream_reaches_the_caller() -> None:
    def fails(prompt: str, text: str) -> list[Step]:
        raise RuntimeError("the server is gone")

    broken = NudgingLLM(base_model=MODEL, nudging_model=ScriptedModel(fails))
    with pytest.raises(RuntimeError, match="the server is gone"):
        list(broken.stream_chat(HI))
