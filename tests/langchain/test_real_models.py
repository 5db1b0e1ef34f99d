"""Tests of the LangChain classes on the real demo pair: all six call methods return the same answer."""

from pathlib import Path
from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable
from pydantic import BaseModel

from langchain_nudging import ChatNudging, NudgingLLM

QUESTIONS = ["What is the capital of France?", "Name a colour."]


class Country(BaseModel):
    name: str
    continent: Literal["Africa", "America", "Asia", "Europe", "Oceania"]


@pytest.fixture(scope="module")
def fields(pair: tuple[Path, Path]) -> dict[str, Any]:
    return {"base_model": pair[0], "nudging_model": pair[1], "max_tokens": 14}


async def all_methods(runnable: Runnable[Any, Any], inputs: list[Any], join: Any) -> list[list[Any]]:
    """Return the answers of each of the six call methods. `join` makes one answer of the parts of a stream."""
    one, other = inputs

    async def streamed(each: Any) -> Any:
        return join([chunk async for chunk in runnable.astream(each)])

    return [
        [runnable.invoke(one), runnable.invoke(other)],
        [await runnable.ainvoke(one), await runnable.ainvoke(other)],
        runnable.batch(inputs),
        await runnable.abatch(inputs),
        [join(list(runnable.stream(each))) for each in inputs],
        [await streamed(one), await streamed(other)],
    ]


async def test_a_chain_returns_the_same_answer_with_each_method(fields: dict[str, Any]) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "You are a helpful assistant."), ("human", "{question}")])
    chain = prompt | ChatNudging(**fields) | StrOutputParser()
    first, *others = await all_methods(chain, [{"question": question} for question in QUESTIONS], "".join)
    assert "Paris" in first[0]
    assert all(other == first for other in others)


async def test_an_llm_returns_the_same_answer_with_each_method(fields: dict[str, Any]) -> None:
    first, *others = await all_methods(NudgingLLM(**fields), QUESTIONS, "".join)
    assert "Paris" in first[0]
    assert all(other == first for other in others)


async def test_structured_output_is_the_same_with_each_method(fields: dict[str, Any]) -> None:
    chat = ChatNudging(**fields).with_structured_output(Country)
    inputs = ["Tell me about France.", "Tell me about Japan."]
    first, *others = await all_methods(chat, inputs, lambda parts: parts[-1])
    assert [country.name for country in first] == ["France", "Japan"]
    assert all(other == first for other in others)


async def test_a_forced_call_is_the_same_with_each_method(fields: dict[str, Any]) -> None:
    def look_up(country: str) -> str:
        """Look up a country."""
        return country

    def call(chunks: list[Any]) -> Any:
        total = chunks[0]
        for chunk in chunks[1:]:
            total += chunk
        return total

    chat = ChatNudging(**fields | {"max_tokens": 24}).bind_tools([look_up], tool_choice="any")
    inputs = ["Look up France.", "Look up Japan."]
    answers: list[list[AIMessage]] = await all_methods(chat, inputs, call)
    calls = [
        [(message.tool_calls[0]["name"], message.tool_calls[0]["args"]) for message in messages] for messages in answers
    ]
    assert calls[0] == [("look_up", {"country": "France"}), ("look_up", {"country": "Japan"})]
    assert all(other == calls[0] for other in calls)


def test_an_llm_supports_stop_regex_and_usage(fields: dict[str, Any]) -> None:
    llm = NudgingLLM(**fields)
    answer = llm.invoke(QUESTIONS[0])
    assert llm.invoke(QUESTIONS[0], stop=["Paris"]) == answer.partition("Paris")[0]
    assert llm.invoke(QUESTIONS[0], regex="[A-Z][a-z]{2,9}").istitle()
    usage = llm.generate(QUESTIONS).llm_output["token_usage"]  # type: ignore[index]
    assert 0 < usage["completion_tokens"] <= 28
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize("number", range(5))
def test_a_forced_call_is_valid_for_any_question(fields: dict[str, Any], number: int) -> None:
    class Order(BaseModel):
        """Order something."""

        item: str
        amount: int
        size: Literal["small", "large"] = "small"

    questions = [
        "Hi",
        "No tools, please.",
        "用中文打个招呼",
        "2 + 2?",
        "Order three cups of tea.",
        "{",
        "Why?",
        "🙂",
        "a" * 50,
    ]
    chat = ChatNudging(**fields | {"max_tokens": 48}).bind_tools([Order], tool_choice="Order")
    (call,) = chat.invoke(questions[number]).tool_calls  # type: ignore[attr-defined]
    Order.model_validate(call["args"])
