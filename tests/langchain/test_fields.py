"""Tests of constructors and of the options of a call, as code for other providers gives them."""

import copy
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from nudging import ScriptedModel, SettingsError
from nudging._logging import log_once

from langchain_nudging import ChatNudging, NudgingLLM

TEXT = "Hello there, you. How are you today, my friend, and how is the weather where you live?"
MODEL = ScriptedModel(TEXT)
KINDS: list[Any] = [ChatNudging, NudgingLLM]


def build(kind: Any, text: str = TEXT, **fields: Any) -> Any:
    model = MODEL if text == TEXT else ScriptedModel(text)
    return kind(base_model=model, nudging_model=model, **fields)


def text(answer: Any) -> str:
    return answer if isinstance(answer, str) else str(answer.content)


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


# constructors


@pytest.mark.parametrize("kind", KINDS)
def test_none_in_a_constructor_means_not_given(kind: Any) -> None:
    fields = ("threshold", "temperature", "max_tokens", "timeout", "max_retries", "stop", "hints", "streaming", "seed")
    assert build(kind, **dict.fromkeys(fields)).model_dump() == build(kind).model_dump()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "hint"),
    [("treshold", "did you mean threshold?"), ("api_key", "base_api_key"), ("qqq", "model_fields has all arguments")],
)
def test_an_unknown_argument_warns_and_is_left_out(kind: Any, name: str, hint: str) -> None:
    with pytest.warns(UserWarning, match=f"{kind.__name__} has no argument '{name}'.*") as caught:
        model = build(kind, **{name: "sk-secret"})
    assert hint in str(caught[0].message)
    assert "sk-secret" not in str(caught[0].message) + repr(model)
    assert model.model_dump() == build(kind).model_dump()


def test_known_arguments_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build(ChatNudging, threshold=0.3, cache=False, tags=["a"], output_version="v0", disable_streaming=True)
        build(NudgingLLM, metadata={"a": 1}, verbose=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda model: model.model_copy(),
        lambda model: model.model_copy(deep=True),
        lambda model: pickle.loads(pickle.dumps(model)),  # noqa: S301
    ],
)
def test_models_can_be_copied_and_pickled(kind: Any, copied: Callable[[Any], Any]) -> None:
    assert text(copied(build(kind)).invoke("Hi")) == TEXT
    by_name = kind(base_model="a/b", nudging_model="c/d", threshold=0.3)
    assert copied(by_name) == by_name


def test_a_deep_copy_shares_its_models() -> None:
    chat = build(ChatNudging)
    both = copy.deepcopy([chat, chat])
    assert both[0] is both[1]
    assert both[0].base_model is chat.base_model


# calls


@pytest.mark.parametrize("kind", KINDS)
def test_options_of_other_providers_are_ignored_and_logged_once(kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    log_once.cache_clear()
    neutral = {"n": 1, "stream": True, "frequency_penalty": 0, "logit_bias": {}, "timeout": 3, "max_retries": None}
    for _ in range(2):
        assert text(build(kind).invoke("Hi", user="me", extra_headers={"key": "sk-secret"}, **neutral)) == TEXT
    assert sorted(record.getMessage().split("'")[1] for record in caplog.records) == ["extra_headers", "user"]
    assert "sk-secret" not in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_options_that_would_change_an_answer_are_refused(kind: Any) -> None:
    with pytest.raises(SettingsError, match="n=3: a call gives one answer"):
        build(kind).invoke("Hi", n=3)
    with pytest.raises(SettingsError, match="frequency_penalty"):
        build(kind).invoke("Hi", frequency_penalty=0.5)
    with pytest.raises(SettingsError, match="timeout=-1"):
        build(kind).invoke("Hi", timeout=-1)


@pytest.mark.parametrize("kind", KINDS)
def test_openais_name_of_max_tokens_is_known(kind: Any) -> None:
    assert text(build(kind).invoke("Hi", max_completion_tokens=1)) == "Hello"


@pytest.mark.parametrize("kind", KINDS)
def test_the_token_counts_of_several_prompts_are_summed(kind: Any) -> None:
    prompts: Any = ["a", "b c"] if kind is NudgingLLM else [[HumanMessage("a")], [HumanMessage("b c")]]
    result = build(kind).generate(prompts)
    single = [build(kind).generate([prompt]).llm_output["token_usage"] for prompt in prompts]
    assert result.llm_output["token_usage"] == {name: single[0][name] + single[1][name] for name in single[0]}


class Tokens(BaseCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []

    def on_llm_new_token(self, token: str, **_: Any) -> None:
        self.tokens.append(token)


class AsyncTokens(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []

    async def on_llm_new_token(self, token: str, **_: Any) -> None:
        self.tokens.append(token)


@pytest.mark.parametrize("kind", KINDS)
async def test_streaming_reports_each_token_in_invoke(kind: Any) -> None:
    for streaming in (True, False):
        handlers: list[Any] = [Tokens(), AsyncTokens()]
        model = build(kind, streaming=streaming)
        assert text(model.invoke("Hi", {"callbacks": handlers[:1]})) == TEXT
        assert text(await model.ainvoke("Hi", {"callbacks": handlers[1:]})) == TEXT
        for handler in handlers:
            assert "".join(handler.tokens) == (TEXT if streaming else "")
            assert not streaming or len(handler.tokens) > 3


# event loops


async def all_async_methods() -> None:
    """Call each asynchronous method of both classes, with and without grammars."""
    for model, options in [
        (build(ChatNudging, '{"a": 1, "b": 2}').with_structured_output(add.args_schema), {}),
        (build(ChatNudging, "").bind_tools([add], tool_choice="any"), {}),
        (build(ChatNudging).bind_tools([add]), {}),
        (build(ChatNudging), {"regex": "Hello.*"}),
        (build(ChatNudging), {"logprobs": True}),
        (build(NudgingLLM), {"regex": "Hello.*"}),
        (build(NudgingLLM, streaming=True), {}),
    ]:
        await model.ainvoke("Hi", **options)
        assert [chunk async for chunk in model.astream("Hi", **options)]
        await model.abatch(["Hi", "Hi"], **options)
    await (await build(ChatNudging).astream_events("Hi", version="v3")).output
    assert [event async for event in build(ChatNudging).astream_events("Hi")]


async def test_no_method_blocks_the_event_loop() -> None:
    with blockbuster_ctx():
        await all_async_methods()


FIRST_CALL = """
import asyncio, sys
from blockbuster import blockbuster_ctx
from nudging import ScriptedModel
from langchain_nudging import ChatNudging, NudgingLLM

async def call():
    with blockbuster_ctx():
        chat = ChatNudging(base_model=ScriptedModel("Hello"), nudging_model=ScriptedModel("Hello"))
        llm = NudgingLLM(base_model=chat.base_model, nudging_model=chat.nudging_model)
        assert "llguidance" not in sys.modules
        CALL
        assert "llguidance" in sys.modules

asyncio.run(call())
"""


@pytest.mark.parametrize(
    "call",
    [
        'await chat.ainvoke("Hi", regex="Hello")',
        '[chunk async for chunk in chat.astream("Hi", regex="Hello")]',
        'await llm.abatch(["Hi"], schema={"type": "null"})',
        '[chunk async for chunk in llm.astream("Hi", regex="Hello")]',
    ],
)
def test_the_first_grammar_of_a_process_does_not_block_the_event_loop(call: str) -> None:
    script = FIRST_CALL.replace("CALL", call)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr
