"""A nudged model in LangChain on the real demo pair: six ways to call it, one answer."""

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


async def six_ways(runnable: Runnable[Any, Any], inputs: list[Any], whole: Any) -> list[list[Any]]:
    """The answers to the inputs, every way; `whole` makes one answer of what was streamed."""
    one, other = inputs

    async def streamed(each: Any) -> Any:
        return whole([chunk async for chunk in runnable.astream(each)])

    return [
        [runnable.invoke(one), runnable.invoke(other)],
        [await runnable.ainvoke(one), await runnable.ainvoke(other)],
        runnable.batch(inputs),
        await runnable.abatch(inputs),
        [whole(list(runnable.stream(each))) for each in inputs],
        [await streamed(one), await streamed(other)],
    ]


async def test_a_chain_answers_alike_every_way(fields: dict[str, Any]) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "You are a helpful assistant."), ("human", "{question}")])
    chain = prompt | ChatNudging(**fields) | StrOutputParser()
    first, *others = await six_ways(chain, [{"question": question} for question in QUESTIONS], "".join)
    assert "Paris" in first[0]
    assert all(other == first for other in others)


async def test_an_llm_answers_alike_every_way(fields: dict[str, Any]) -> None:
    first, *others = await six_ways(NudgingLLM(**fields), QUESTIONS, "".join)
    assert "Paris" in first[0]
    assert all(other == first for other in others)


async def test_structured_output_is_alike_every_way(fields: dict[str, Any]) -> None:
    chat = ChatNudging(**fields).with_structured_output(Country)
    inputs = ["Tell me about France.", "Tell me about Japan."]
    first, *others = await six_ways(chat, inputs, lambda parts: parts[-1])
    assert [country.name for country in first] == ["France", "Japan"]
    assert all(other == first for other in others)


async def test_a_forced_call_is_alike_every_way(fields: dict[str, Any]) -> None:
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
    answers: list[list[AIMessage]] = await six_ways(chat, inputs, call)
    calls = [[(message.tool_calls[0]["name"], message.tool_calls[0]["args"]) for message in way] for way in answers]
    assert calls[0] == [("look_up", {"country": "France"}), ("look_up", {"country": "Japan"})]
    assert all(way == calls[0] for way in calls)


def test_the_llm_stops_counts_and_is_held_to_a_regex(fields: dict[str, Any]) -> None:
    llm = NudgingLLM(**fields)
    whole = llm.invoke(QUESTIONS[0])
    assert llm.invoke(QUESTIONS[0], stop=["Paris"]) == whole.partition("Paris")[0]
    assert llm.invoke(QUESTIONS[0], regex="[A-Z][a-z]{2,9}").istitle()
    usage = llm.generate(QUESTIONS).llm_output["token_usage"]  # type: ignore[index]
    assert 0 < usage["completion_tokens"] <= 28
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize("number", range(5))
def test_a_call_that_must_be_made_is_made_whatever_is_asked(fields: dict[str, Any], number: int) -> None:
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
