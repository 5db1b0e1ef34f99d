"""ChatOpenAI of langchain-openai, with the chat completions API and with the Responses API."""

import asyncio
import json
from typing import Any

import openai
import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel
from servers import (
    ALICE,
    API_KEY,
    CALL_OSLO,
    CALL_TWO_CITIES,
    LONG_QUESTION,
    SAY_CALL_OSLO,
    Servers,
    is_idle,
)


class Person(BaseModel):
    """A person."""

    name: str
    age: int


@tool
def weather(city: str) -> str:
    """Return the weather."""
    return f"sunny in {city}"


@tool
def now() -> str:
    """Return the time."""
    return "noon"


@pytest.fixture(params=[False, True], ids=["chat", "responses"])
def responses(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def chat_at(url: str, responses: bool, **options: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model="nudged", base_url=url, max_retries=0, use_responses_api=responses, **{"api_key": "none", **options}
    )


@pytest.fixture
def chat(servers: Servers, responses: bool) -> ChatOpenAI:
    return chat_at(servers.scripted, responses)


def test_invoke_counts_tokens(chat: ChatOpenAI) -> None:
    message = chat.invoke([SystemMessage("Be brief."), HumanMessage("Say: Hello there.")])
    assert message.text == "Hello there."
    assert message.usage_metadata is not None
    assert message.usage_metadata["total_tokens"] > 0
    assert message.response_metadata["model_name"] == "nudged"


def test_stream_adds_up_and_counts_tokens(chat: ChatOpenAI) -> None:
    chunks = list(chat.stream("Count: 5", **({} if chat.use_responses_api else {"stream_usage": True})))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.text == "1 2 3 4 5"
    assert len([chunk for chunk in chunks if chunk.text]) > 1
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] > 0


async def test_async_batch_and_events(chat: ChatOpenAI) -> None:
    assert (await chat.ainvoke("Say: async")).text == "async"
    assert "".join([chunk.text async for chunk in chat.astream("Say: a b c")]) == "a b c"
    questions = [f"Say: answer {number}" for number in range(20)]
    assert [message.text for message in await chat.abatch(questions)] == [q.removeprefix("Say: ") for q in questions]
    events = [event["event"] async for event in chat.astream_events("Say: a b c", version="v2")]
    assert events.count("on_chat_model_stream") > 2


def test_a_conversation_is_sent_back(chat: ChatOpenAI) -> None:
    messages: list[Any] = [SystemMessage("Be brief."), HumanMessage("Say: first")]
    messages += [chat.invoke(messages), HumanMessage("Say: second")]
    messages += [chat.invoke(messages), HumanMessage("Repeat the prompt.")]
    text = chat.invoke(messages).text
    assert "system: Be brief." in text
    assert "assistant: first" in text
    assert "assistant: second" in text


def test_a_tool_is_called_and_its_result_is_used(chat: ChatOpenAI) -> None:
    calling = chat.bind_tools([weather, now])
    messages: list[Any] = [HumanMessage(CALL_OSLO)]
    message = calling.invoke(messages)
    (call,) = message.tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "Oslo"})
    messages += [message, ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])]
    assert calling.invoke(messages).text == "The tool says: sunny in Oslo"


@pytest.mark.parametrize("choice", ["any", "weather", True])
def test_a_required_tool_is_called(chat: ChatOpenAI, choice: Any) -> None:
    tools = [weather] if choice is True else [weather, now]
    assert chat.bind_tools(tools, tool_choice=choice).invoke(SAY_CALL_OSLO).tool_calls[0]["name"] == "weather"


def test_strict_tools_and_tools_without_arguments(chat: ChatOpenAI) -> None:
    assert chat.bind_tools([weather], strict=True).invoke(CALL_OSLO).tool_calls[0]["args"] == {"city": "Oslo"}
    assert chat.bind_tools([now]).invoke("Call: now {}").tool_calls[0]["args"] == {}
    assert not chat.bind_tools([weather], tool_choice="none").invoke("Say: none").tool_calls


def test_streamed_calls_join(chat: ChatOpenAI) -> None:
    chunks = list(chat.bind_tools([weather]).stream(CALL_TWO_CITIES))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert [call["args"]["city"] for call in whole.tool_calls] == ["Oslo", "Rome"]
    assert len({call["id"] for call in whole.tool_calls}) == 2


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_structured_output(chat: ChatOpenAI, method: Any) -> None:
    question = f'Say: {{"name": "Person", "arguments": {ALICE}}}' if method == "function_calling" else f"Say: {ALICE}"
    found: Any = chat.with_structured_output(Person, method=method, include_raw=True).invoke(question + " ")
    assert found["parsed"] == Person(name="Alice", age=30), found


def test_structured_output_is_streamed(chat: ChatOpenAI) -> None:
    assert list(chat.with_structured_output(Person).stream(f"Say: {ALICE}"))[-1] == Person(name="Alice", age=30)


def test_an_agent_uses_tools_and_answers(chat: ChatOpenAI) -> None:
    agent = create_agent(chat, [weather, now], system_prompt="Be brief.")
    messages = agent.invoke({"messages": [HumanMessage(CALL_TWO_CITIES)]})["messages"]
    assert [message.content for message in messages if isinstance(message, ToolMessage)] == [
        "sunny in Oslo",
        "sunny in Rome",
    ]
    assert messages[-1].text == "The tool says: sunny in Rome"
    again = agent.invoke({"messages": [*messages, HumanMessage("Say: bye")]})["messages"]
    assert again[-1].text == "bye"


@pytest.mark.parametrize("strategy", [ProviderStrategy, ToolStrategy])
def test_an_agent_answers_in_a_structure(chat: ChatOpenAI, strategy: Any) -> None:
    agent = create_agent(chat, [weather], response_format=strategy(Person))
    call = f'{{"name": "Person", "arguments": {ALICE}}}'
    question = f"Say: {ALICE}" if strategy is ProviderStrategy else f"Say: {call}"
    found = agent.invoke({"messages": [HumanMessage(question)]})
    assert found["structured_response"] == Person(name="Alice", age=30)


def test_stop_and_limits(servers: Servers, responses: bool) -> None:
    cut = chat_at(servers.scripted, responses, max_tokens=2).invoke("Say: one two three")
    assert cut.text == "one two"
    if not responses:  # the Responses API has no stop strings
        assert cut.response_metadata["finish_reason"] == "length"
        stopped = chat_at(servers.scripted, responses).invoke("Say: one two three", stop=["three"])
        assert stopped.text.strip() == "one two"
        scored = chat_at(servers.tiny, responses, logprobs=True, max_tokens=5, n=2, temperature=1).generate(
            [[HumanMessage("the sky")]]
        )
        assert len(scored.generations[0]) == 2
        assert scored.generations[0][0].message.response_metadata["logprobs"]["content"]


def test_each_status_becomes_its_error(servers: Servers, responses: bool) -> None:
    with pytest.raises(openai.AuthenticationError, match="API key"):
        chat_at(servers.keyed, responses).invoke("Say: no")
    with pytest.raises(openai.BadRequestError, match="limit of 100"):
        chat_at(servers.keyed, responses, api_key=API_KEY).invoke(LONG_QUESTION)
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-9'"):
        chat_at(servers.scripted, responses).bind(model="gpt-9").invoke("Say: no")
    with pytest.raises(openai.BadRequestError, match="temperature"):
        chat_at(servers.scripted, responses, temperature=-1).invoke("Say: no")
    with pytest.raises(openai.APITimeoutError):
        chat_at(servers.single, responses, timeout=0.4).invoke("Count: 500")
    assert is_idle(servers.single)


async def test_a_stream_that_is_left_frees_the_slot(servers: Servers, responses: bool) -> None:
    chat = chat_at(servers.single, responses)

    async def read() -> None:
        async for _ in chat.astream("Count: 500"):
            pass

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.3)
    with pytest.raises(openai.RateLimitError):
        await chat.ainvoke("Say: now")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await asyncio.to_thread(is_idle, servers.single)


def test_messages_of_other_providers_are_sent_back(chat: ChatOpenAI) -> None:
    messages = [
        HumanMessage([{"type": "text", "text": "What is the weather?"}], name="alice"),
        AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Oslo"}, "id": "toolu_01"}]),
        ToolMessage([{"type": "text", "text": "rain"}], tool_call_id="toolu_01", name="weather"),
        AIMessage([{"type": "text", "text": "It rains."}]),
        HumanMessage("Repeat the prompt."),
    ]
    text = chat.invoke(messages).text
    assert "rain" in text
    assert "It rains." in text
    assert json.dumps({"city": "Oslo"}) in text


def test_the_completions_class(servers: Servers) -> None:
    llm = OpenAI(model="nudged", base_url=servers.scripted, api_key="none", max_retries=0)
    assert llm.invoke("Say: text") == "text"
    assert "".join(llm.stream("Say: a b")) == "a b"
    assert llm.batch(["Say: a", "Say: b"]) == ["a", "b"]
    assert [g[0].text for g in llm.generate(["Say: a", "Say: b"]).generations] == ["a", "b"]
