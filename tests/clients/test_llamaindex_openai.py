"""LlamaIndex's OpenAILike with the chat completions API, and OpenAIResponses with the Responses API."""

import asyncio
import json
from typing import Any

import openai
import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, TextBlock
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAIResponses
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from servers import ALICE, API_KEY, CALL_OSLO, CALL_TWO_CITIES, LONG_QUESTION, SAY_CALL_OSLO, Servers, is_idle


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def weather(city: str) -> str:
    """Return the weather."""
    return f"sunny in {city}"


def now() -> str:
    """Return the time."""
    return "noon"


WEATHER, NOW = FunctionTool.from_defaults(weather), FunctionTool.from_defaults(now)


def llm_at(url: str, responses: bool, **options: Any) -> FunctionCallingLLM:
    options = {"api_key": "none", "api_base": url, "model": "nudged", "max_retries": 0, **options}
    if responses:
        return OpenAIResponses(context_window=4096, **options)
    return OpenAILike(is_chat_model=True, is_function_calling_model=True, should_use_structured_outputs=True, **options)


@pytest.fixture(params=[False, True], ids=["chat", "responses"])
def responses(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def llm(servers: Servers, responses: bool) -> FunctionCallingLLM:
    return llm_at(servers.scripted, responses)


def user(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


def test_chat_and_complete(llm: FunctionCallingLLM) -> None:
    messages = [ChatMessage(role="system", content="Be brief."), *user("Say: Hello there.")]
    assert llm.chat(messages).message.content == "Hello there."
    assert llm.complete("Say: Hello there.").text == "Hello there."


def test_streams_add_up(llm: FunctionCallingLLM) -> None:
    parts = list(llm.stream_chat(user("Count: 5")))
    assert parts[-1].message.content == "1 2 3 4 5"
    assert "".join(part.delta or "" for part in parts) == "1 2 3 4 5"
    assert list(llm.stream_complete("Say: a b"))[-1].text == "a b"


async def test_async(llm: FunctionCallingLLM) -> None:
    assert (await llm.achat(user("Say: async"))).message.content == "async"
    assert [part.message.content async for part in await llm.astream_chat(user("Say: a b"))][-1] == "a b"
    found = await asyncio.gather(*(llm.acomplete(f"Say: answer {number}") for number in range(20)))
    assert [one.text for one in found] == [f"answer {number}" for number in range(20)]


def test_a_conversation_is_sent_back(llm: FunctionCallingLLM) -> None:
    messages = [ChatMessage(role="system", content="Be brief."), *user("Say: first")]
    messages += [llm.chat(messages).message, *user("Say: second")]
    blocks = ChatMessage(role="user", blocks=[TextBlock(text="Repeat "), TextBlock(text="the prompt.")])
    messages += [llm.chat(messages).message, ChatMessage(role="user", content="Repeat the prompt.")]
    text = llm.chat(messages).message.content or ""
    assert "system: Be brief." in text
    assert "assistant: first" in text
    assert "assistant: second" in text
    assert llm.chat([blocks]).message.content


def test_a_tool_is_called_and_its_result_is_used(llm: FunctionCallingLLM) -> None:
    reply = llm.chat_with_tools([WEATHER, NOW], user_msg=CALL_OSLO)
    (call,) = llm.get_tool_calls_from_response(reply)
    assert (call.tool_name, call.tool_kwargs) == ("weather", {"city": "Oslo"})
    result = ChatMessage(
        role="tool", content="sunny", additional_kwargs={"tool_call_id": call.tool_id, "name": "weather"}
    )
    history = [*user(CALL_OSLO), reply.message, result]
    again = llm.chat_with_tools([WEATHER, NOW], chat_history=history)
    assert again.message.content == "The tool says: sunny"
    assert llm.predict_and_call([WEATHER], user_msg=CALL_OSLO).response == "sunny in Oslo"


def test_a_required_tool_is_called(llm: FunctionCallingLLM) -> None:
    reply = llm.chat_with_tools([WEATHER, NOW], user_msg=SAY_CALL_OSLO, tool_required=True)
    assert llm.get_tool_calls_from_response(reply)[0].tool_name == "weather"
    named = llm.chat_with_tools([WEATHER, NOW], user_msg=SAY_CALL_OSLO, tool_choice="weather")
    assert llm.get_tool_calls_from_response(named)[0].tool_name == "weather"


def test_several_calls_are_streamed(llm: FunctionCallingLLM) -> None:
    *_, last = llm.stream_chat_with_tools([WEATHER], user_msg=CALL_TWO_CITIES, allow_parallel_tool_calls=True)
    calls = llm.get_tool_calls_from_response(last)
    assert [call.tool_kwargs["city"] for call in calls] == ["Oslo", "Rome"]
    single = llm.chat_with_tools([WEATHER], user_msg=CALL_TWO_CITIES)
    assert len(llm.get_tool_calls_from_response(single)) == 1


def test_structured_output(llm: FunctionCallingLLM) -> None:
    prompt = PromptTemplate("{question}")
    question = f"Say: {ALICE}"
    alice = Person(name="Alice", age=30)
    assert llm.structured_predict(Person, prompt, question=question) == alice
    assert llm.as_structured_llm(Person).complete(question).raw == alice
    *_, last = llm.stream_structured_predict(Person, prompt, question=question)
    assert last == alice


async def test_an_agent_uses_tools_and_answers(llm: FunctionCallingLLM) -> None:
    agent = FunctionAgent(tools=[WEATHER, NOW], llm=llm, system_prompt="Be brief.")
    assert str(await agent.run(CALL_OSLO)) == "The tool says: sunny in Oslo"


async def test_an_agent_hands_over_to_another(llm: FunctionCallingLLM) -> None:
    first = FunctionAgent(name="first", description="d", llm=llm, can_handoff_to=["second"], tools=[NOW])
    second = FunctionAgent(name="second", description="d", llm=llm, tools=[WEATHER])
    handoff = json.dumps({"to_agent": "second", "reason": "weather"})
    workflow = AgentWorkflow(agents=[first, second], root_agent="first")
    handler = workflow.run(f"Call: handoff {handoff}")
    events = [event async for event in handler.stream_events()]
    assert "second" in {getattr(event, "current_agent_name", None) for event in events}
    assert str(await handler).startswith("The tool says:")


def test_options(servers: Servers, responses: bool) -> None:
    if responses:
        cut = llm_at(servers.scripted, responses, max_output_tokens=2).chat(user("Say: one two three"))
    else:
        cut = llm_at(servers.scripted, responses, max_tokens=2).chat(user("Say: one two three"))
        scored = llm_at(servers.tiny, responses, logprobs=True, top_logprobs=0, max_tokens=4).chat(user("the sky"))
        assert scored.message.content is not None
        completing = OpenAILike(model="nudged", api_base=servers.scripted, api_key="none", is_chat_model=False)
        assert completing.complete("Say: text").text == "text"
        assert list(completing.stream_complete("Say: a b"))[-1].text == "a b"
    assert cut.message.content == "one two"


def test_each_status_becomes_its_error(servers: Servers, responses: bool) -> None:
    with pytest.raises(openai.AuthenticationError, match="API key"):
        llm_at(servers.keyed, responses).chat(user("Say: no"))
    with pytest.raises(openai.BadRequestError, match="limit of 100"):
        llm_at(servers.keyed, responses, api_key=API_KEY).chat(user(LONG_QUESTION))
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-4o'"):
        llm_at(servers.scripted, responses, model="gpt-4o").chat(user("Say: no"))
    with pytest.raises(openai.BadRequestError, match="top_p"):
        llm_at(servers.scripted, responses).chat(user("Say: no"), top_p=2)


async def test_a_stream_that_is_left_frees_the_slot(servers: Servers, responses: bool) -> None:
    llm = llm_at(servers.single, responses)

    async def read() -> None:
        async for _ in await llm.astream_chat(user("Count: 500")):
            pass

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.3)
    with pytest.raises(openai.RateLimitError):
        await llm.achat(user("Say: now"))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await asyncio.to_thread(is_idle, servers.single)
