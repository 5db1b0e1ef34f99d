"""Tests of the LlamaIndex LLM: each call method returns the engine's answer, with the authors of its pieces."""

import asyncio
import json
import pickle
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from nudging import ContextLengthError, Nudger, PromptError, ScriptedModel, SettingsError, Step
from nudging._logging import log_once
from nudging.models.local.model import LocalModel
from pydantic import ValidationError

from llamaindex_nudging import NudgingLLM, NudgingLLMError

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
    *parts, final = responses
    assert [(part.delta, part.additional_kwargs["author"]) for part in parts] == PIECES
    assert "".join(response.delta for response in responses) == TEXT
    assert all(TEXT.startswith(text) for text in texts)
    check(final, texts[-1])


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


def test_prompt_templates_are_answered() -> None:
    assert llm.predict(PromptTemplate("Greet {name}"), name="me") == TEXT
    assert "".join(llm.stream(PromptTemplate("Greet {name}"), name="me")) == TEXT


def test_the_metadata_describes_both_models() -> None:
    metadata = NudgingLLM(**FIELDS, max_tokens=99).metadata
    assert metadata.context_window == 994  # the template adds six words
    assert metadata.num_output == 99
    assert metadata.is_chat_model
    assert metadata.is_function_calling_model
    assert metadata.model_name == "greeter + greeter"


def test_the_metadata_can_be_set() -> None:
    set_llm = NudgingLLM(**FIELDS, context_window=2048, is_function_calling_model=False)
    assert set_llm.metadata.context_window == 2048
    assert not set_llm.metadata.is_function_calling_model
    assert NudgingLLM.from_dict(set_llm.to_dict() | FIELDS).metadata == set_llm.metadata
    unset = NudgingLLM(**FIELDS, context_window=None, is_function_calling_model=None)
    assert unset.metadata == llm.metadata
    with pytest.raises(ValidationError, match="context_window"):
        NudgingLLM(**FIELDS, context_window=0)


def test_the_metadata_loads_no_weights(tiny_base: Path, tiny_nudging: Path) -> None:
    tiny = NudgingLLM(base_model=LocalModel(tiny_base), nudging_model=LocalModel(tiny_nudging))
    assert 0 < tiny.metadata.context_window < 512
    assert tiny.tokenizer("Hi")
    assert tiny.nudger.base_model.weights._loaded is None  # type: ignore[attr-defined]


def test_none_is_the_default_of_every_argument() -> None:
    nothing = dict.fromkeys(set(NudgingLLM.model_fields) - {"base_model", "nudging_model"})
    assert NudgingLLM(**FIELDS, **nothing).to_dict() == llm.to_dict()


def test_an_unknown_argument_is_logged_by_name(caplog: pytest.LogCaptureFixture) -> None:
    log_once.cache_clear()
    for _ in range(2):
        NudgingLLM(**FIELDS, treshold=0.3, api_key="sk-secret")
    (record,) = caplog.records
    assert record.name == "nudging"
    assert "'api_key', 'treshold'" in record.getMessage()
    assert "sk-secret" not in record.getMessage()


def test_roles_are_translated() -> None:
    prompts: list[str] = []

    def record(prompt: str, text: str) -> list[Step]:
        prompts.append(prompt)
        return [Step("yes", 1.0), Step("", 1.0, end=True)]

    recording = NudgingLLM(base_model=MODEL, nudging_model=ScriptedModel(record))
    roles = [MessageRole.DEVELOPER, MessageRole.USER, MessageRole.MODEL, MessageRole.USER]
    recording.chat([ChatMessage(role=role, blocks=[TextBlock(text=f"{n}")]) for n, role in enumerate(roles)])
    assert prompts == ["system: 0\nuser: 1\nassistant: 2\nuser: 3\nassistant: "]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (
            ChatMessage(role="user", blocks=[ImageBlock(url="http://x/y.png")]),
            "message 1 has content of type 'image'",
        ),
        (ChatMessage(role="user", content=""), "the prompt is empty"),
    ],
)
def test_an_invalid_message_raises(message: ChatMessage, error: str) -> None:
    with pytest.raises(NudgingLLMError, match=error) as raised:
        llm.chat([message])
    assert isinstance(raised.value.__cause__, PromptError)


def test_settings_can_be_passed_per_call_and_are_checked() -> None:
    assert llm.complete("Hi", stop=["!"]).text == "Why, hello there"
    assert llm.chat(HI, max_tokens=1).message.content == "Why,"
    with pytest.raises(NudgingLLMError, match="no setting 'gamma'") as raised:
        llm.complete("Hi", gamma=0.2)
    assert isinstance(raised.value.__cause__, SettingsError)
    with pytest.raises(ValidationError, match="threshold"):
        NudgingLLM(**FIELDS, threshold=2)


def test_an_exception_inside_a_stream_reaches_the_caller() -> None:
    def fails(prompt: str, text: str) -> list[Step]:
        raise RuntimeError("the server is gone")

    broken = NudgingLLM(base_model=MODEL, nudging_model=ScriptedModel(fails))
    with pytest.raises(RuntimeError, match="the server is gone"):
        list(broken.stream_chat(HI))


def test_an_answer_ends_at_the_delimiter_of_llamaindex_prompts() -> None:
    model = ScriptedModel("It is 330 metres tall.\n---------------------\nThe answer is: 330")
    repeating = NudgingLLM(base_model=model, nudging_model=model)
    assert repeating.complete("How tall?").text == "It is 330 metres tall."
    assert repeating.complete("How tall?", stop=["answer"]).text.endswith("\nThe ")
    assert NudgingLLM(base_model=model, nudging_model=model, stop=()).complete("How tall?").text.endswith("is: 330")


def test_a_prompt_longer_than_the_context_raises() -> None:
    long = [ChatMessage(role="user", content="word " * 1200)]
    with pytest.raises(NudgingLLMError, match="has a context of 1000") as raised:
        llm.chat(long)
    assert isinstance(raised.value.__cause__, ContextLengthError)


@pytest.mark.parametrize("streaming", [False, True])
def test_logprobs_are_returned_on_request(streaming: bool) -> None:
    response = list(llm.stream_chat(HI, logprobs=True))[-1] if streaming else llm.chat(HI, logprobs=True)
    assert response.logprobs
    assert "".join(token.token for (token,) in response.logprobs) == TEXT
    assert llm.complete("Hi", logprobs=True).logprobs == response.logprobs
    assert llm.chat(HI).logprobs is None


def test_an_answer_follows_a_schema_or_a_regex() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    assert isinstance(json.loads(llm.complete("Hi", schema=schema).text)["a"], int)
    assert llm.complete("Hi", regex="Why, (no|yes)").text in {"Why, no", "Why, yes"}


def test_an_llm_can_be_serialized_and_pickled(tmp_path: Path) -> None:
    original = NudgingLLM(base_model=tmp_path / "base", nudging_model="small", threshold=0.3, stop=["x"])
    for copy in [
        NudgingLLM.from_dict(original.to_dict()),
        NudgingLLM.from_json(original.to_json()),
        pickle.loads(pickle.dumps(original)),  # noqa: S301
    ]:
        assert copy.to_dict() == original.to_dict()
        assert copy.nudger.settings == original.nudger.settings
    assert pickle.loads(pickle.dumps(llm)).complete("Hi").text == TEXT  # noqa: S301


def test_an_api_key_is_not_stored() -> None:
    key = "sk-not-to-be-seen"
    given: Any = {"api_key": key, "timeout": 3, "max_retries": 2, "streaming": True, "temperature": 0.0}
    original = NudgingLLM(**FIELDS, **given)
    texts = [
        repr(original),
        str(original.to_dict()),
        original.to_json(),
        str(original.to_payload()) if hasattr(original, "to_payload") else "",  # llama-index-core 0.14.23
        str(pickle.dumps(original)),
    ]
    assert not any(key in text for text in texts)


def test_the_constructor_loads_no_model(tmp_path: Path) -> None:
    NudgingLLM(base_model=tmp_path / "not there", nudging_model="nor here")


def test_threads_can_share_an_llm() -> None:
    with ThreadPoolExecutor(8) as threads:
        assert {response.text for response in threads.map(llm.complete, ["Hi"] * 16)} == {TEXT}


class SlowScript:
    """A script of a slow nudging model. It records the texts that it is asked to continue."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, prompt: str, text: str) -> list[Step]:
        self.calls.append(text)
        sleep(0.03)
        return [Step(" a", 1.0), Step(" b", 1.0), Step(f" {len(self.calls)}", 1.0)]

    @property
    def llm(self) -> NudgingLLM:
        return NudgingLLM(base_model=ScriptedModel("", probability=0), nudging_model=ScriptedModel(self), max_tokens=12)


def say(words: str) -> str:
    """Say it."""
    return words


TOOL = FunctionTool.from_defaults(say)


async def collect(stream: Any) -> list[Any]:
    return [response async for response in await stream]


ASYNC_METHODS: dict[str, Callable[[NudgingLLM], Any]] = {
    "achat": lambda llm: llm.achat(HI),
    "acomplete": lambda llm: llm.acomplete("Hi"),
    "astream_chat": lambda llm: collect(llm.astream_chat(HI)),
    "astream_complete": lambda llm: collect(llm.astream_complete("Hi")),
    "achat_with_tools": lambda llm: llm.achat_with_tools([TOOL], "Hi"),
    "astream_chat_with_tools": lambda llm: collect(llm.astream_chat_with_tools([TOOL], "Hi")),
    "apredict": lambda llm: llm.apredict(PromptTemplate("Hi")),
    "apredict_and_call": lambda llm: llm.apredict_and_call([TOOL], "Hi", error_on_no_tool_call=False),
}


@pytest.mark.parametrize("method", ASYNC_METHODS)
async def test_the_event_loop_is_not_blocked(method: str) -> None:
    slow, ticks = SlowScript(), 0
    task = asyncio.ensure_future(ASYNC_METHODS[method](slow.llm))
    while not task.done():
        await asyncio.sleep(0.002)
        ticks += 1
    await task
    assert len(slow.calls) >= 3
    assert ticks >= 2 * len(slow.calls)


@pytest.mark.parametrize("method", ASYNC_METHODS)
async def test_cancelling_a_call_stops_decoding(method: str) -> None:
    slow = SlowScript()
    task = asyncio.ensure_future(ASYNC_METHODS[method](slow.llm))
    while len(slow.calls) < 2:  # noqa: ASYNC110 (other threads append to it)
        await asyncio.sleep(0.002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.05)
    before = len(slow.calls)
    await asyncio.sleep(0.1)
    assert len(slow.calls) == before


async def test_closing_a_stream_stops_decoding() -> None:
    slow = SlowScript()
    stream = slow.llm.stream_chat(HI)
    next(stream)
    stream.close()
    asynchronous: AsyncIterator[Any] = await slow.llm.astream_complete("Hi")
    await anext(asynchronous)
    await asynchronous.aclose()  # type: ignore[attr-defined]
    before = len(slow.calls)
    await asyncio.sleep(0.1)
    assert len(slow.calls) == before
