"""Tests of errors: they are the engine's and LangChain's, so that middleware knows what to do."""

import pickle
from typing import Any

import nudging
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRetryMiddleware, SummarizationMiddleware
from langchain_core import exceptions
from langchain_core.messages import HumanMessage
from nudging import ScriptedModel, ServerError
from nudging.errors import NudgingError

from langchain_nudging import ChatNudging, NudgingLLM
from langchain_nudging.errors import langchain_errors

MODEL = ScriptedModel("x", context_length=3)
CHAT = ChatNudging(base_model=MODEL, nudging_model=MODEL)
LLM = NudgingLLM(base_model=MODEL, nudging_model=MODEL)
LONG = "one two three four"
IMAGE: Any = [HumanMessage([{"type": "image_url", "image_url": "x"}])]


async def methods(runnable: Any, prompt: Any, **options: Any) -> list[Any]:
    """Return the error that each of the call methods raises."""
    errors = []
    for method in ("invoke", "stream", "ainvoke", "astream"):
        with pytest.raises(NudgingError) as raised:
            await call(runnable, method, prompt, options)
        errors.append(raised.value)
    return errors


async def call(runnable: Any, method: str, prompt: Any, options: dict[str, Any]) -> None:
    result = getattr(runnable, method)(prompt, **options)
    if method == "ainvoke":
        await result
    elif method == "stream":
        list(result)
    elif method == "astream":
        [chunk async for chunk in result]


@pytest.mark.parametrize("runnable", [CHAT, LLM], ids=["chat", "llm"])
async def test_each_method_raises_the_error_of_both(runnable: Any) -> None:
    for error in await methods(runnable, LONG):
        assert isinstance(error, nudging.ContextLengthError)
        assert isinstance(error, exceptions.ContextOverflowError)
        assert "has a context of 3" in str(error)
    for error in await methods(runnable, "x", threshold=7):
        assert isinstance(error, nudging.SettingsError)
        assert isinstance(error, exceptions.ModelInvalidRequestError)


async def test_what_cannot_succeed_is_not_retried() -> None:
    hopeless: list[tuple[Any, dict[str, Any]]] = [
        ("x", {"threshold": 7}),
        ("x", {"n": 2}),
        ("x", {"schema": {"type": "no"}}),
        ("x", {"regex": "("}),
        ("x", {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        (IMAGE, {}),
        (LONG, {}),
    ]
    for prompt, options in hopeless:
        for error in await methods(CHAT, prompt, **options):
            assert isinstance(error, exceptions.ModelError)
            assert not error.is_retryable
    attempts: list[str] = []

    def count(prompt: str, text: str) -> Any:
        attempts.append(prompt)
        raise nudging.PromptError("no")

    scripted = ScriptedModel(count)
    agent = create_agent(
        ChatNudging(base_model=scripted, nudging_model=scripted),
        middleware=[ModelRetryMiddleware(initial_delay=0, on_failure="error")],
    )
    with pytest.raises(nudging.PromptError):
        agent.invoke({"messages": [("user", "x")]})
    assert len(attempts) == 1


@pytest.mark.parametrize(
    ("status", "name", "is_retryable"),
    [
        (None, "ModelConnectionError", True),
        (400, "ModelInvalidRequestError", False),
        (401, "ModelAuthenticationError", False),
        (403, "ModelPermissionDeniedError", False),
        (404, "ModelNotFoundError", False),
        (408, "ModelTimeoutError", True),
        (429, "ModelRateLimitError", True),
        (500, "ModelAPIError", True),
        (503, "ModelAPIError", True),
    ],
)
def test_the_error_of_a_server_is_that_of_its_status(status: int | None, name: str, is_retryable: bool) -> None:
    refused = ServerError("no")
    refused.status = status
    cause = ValueError("why")
    with pytest.raises(ServerError) as raised, langchain_errors():
        raise refused from cause
    error: Any = raised.value
    assert isinstance(error, getattr(exceptions, name))
    assert (error.is_retryable, error.status, error.args, error.__cause__) == (is_retryable, status, ("no",), cause)


def test_other_errors_pass_unchanged() -> None:
    error = RuntimeError("the server is gone")
    with pytest.raises(RuntimeError) as raised, langchain_errors():
        raise error
    assert raised.value is error


def test_errors_can_be_pickled() -> None:
    with pytest.raises(nudging.ContextLengthError) as raised:
        CHAT.invoke(LONG)
    error = pickle.loads(pickle.dumps(raised.value))  # noqa: S301
    assert isinstance(error, nudging.ContextLengthError)
    assert isinstance(error, exceptions.ContextOverflowError)
    assert str(error) == str(raised.value)


def test_an_agent_summarizes_when_the_context_overflows() -> None:
    chat = ChatNudging(base_model=(model := ScriptedModel("short", context_length=400)), nudging_model=model)
    summarizing = SummarizationMiddleware(
        chat, trigger=("fraction", 0.5), keep=("messages", 1), trim_tokens_to_summarize=50
    )
    agent = create_agent(chat, middleware=[summarizing])
    messages = [("user", "word " * 60)] * 9
    assert agent.invoke({"messages": messages})["messages"][-1].content == "short"
