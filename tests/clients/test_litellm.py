"""LiteLLM's library, with the prefix `openai/` for any server that speaks OpenAI's API."""

import asyncio
import json
from typing import Any

import litellm
import pytest
from servers import (
    ALICE,
    API_KEY,
    CALL_OSLO,
    CALL_TWO_CITIES,
    LONG_QUESTION,
    NOW_TOOL,
    SAY_CALL_OSLO,
    WEATHER_TOOL,
    Person,
    Servers,
    is_idle,
    user,
)

litellm.telemetry = False


def options(url: str, **more: Any) -> dict[str, Any]:
    return {"model": "openai/nudged", "api_base": url, "api_key": "none", "max_retries": 0, **more}


@pytest.fixture
def scripted(servers: Servers) -> dict[str, Any]:
    return options(servers.scripted)


def test_a_chat_answers_with_usage(scripted: dict[str, Any]) -> None:
    reply = litellm.completion(messages=user("Say: Hello there."), **scripted)
    assert reply.choices[0].message.content == "Hello there."
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0


def test_its_own_messages_can_be_sent_back(scripted: dict[str, Any]) -> None:
    messages: list[Any] = [{"role": "system", "content": "Be brief."}, *user("Say: first")]
    reply = litellm.completion(messages=messages, **scripted)
    messages += [reply.choices[0].message, *user("Say: second")]
    reply = litellm.completion(messages=messages, **scripted)
    messages += [reply.choices[0].message.model_dump(), *user("Repeat the prompt.")]
    text = litellm.completion(messages=messages, **scripted).choices[0].message.content
    assert "system: Be brief." in text
    assert "assistant: first" in text
    assert "assistant: second" in text


@pytest.mark.parametrize("usage", [False, True])
def test_a_stream_adds_up(scripted: dict[str, Any], usage: bool) -> None:
    more = {"stream_options": {"include_usage": True}} if usage else {}
    chunks = list(litellm.completion(messages=user("Say: one two three"), stream=True, **more, **scripted))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two three"
    rebuilt: Any = litellm.stream_chunk_builder(chunks)
    assert rebuilt.choices[0].message.content == "one two three"
    assert rebuilt.choices[0].finish_reason == "stop"


def test_a_tool_is_called_and_its_result_is_used(scripted: dict[str, Any]) -> None:
    messages = user(CALL_OSLO)
    message = litellm.completion(messages=messages, tools=[WEATHER_TOOL, NOW_TOOL], **scripted).choices[0].message
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    messages += [message, {"role": "tool", "tool_call_id": call.id, "name": "weather", "content": "sunny"}]
    reply = litellm.completion(messages=messages, tools=[WEATHER_TOOL], **scripted)
    assert reply.choices[0].message.content == "The tool says: sunny"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_required_tool_is_called(scripted: dict[str, Any], choice: Any) -> None:
    reply = litellm.completion(
        messages=user(SAY_CALL_OSLO), tools=[WEATHER_TOOL, NOW_TOOL], tool_choice=choice, **scripted
    )
    assert reply.choices[0].message.tool_calls[0].function.name == "weather"


def test_streamed_calls_join_to_json(scripted: dict[str, Any]) -> None:
    chunks = list(litellm.completion(messages=user(CALL_TWO_CITIES), tools=[WEATHER_TOOL], stream=True, **scripted))
    rebuilt: Any = litellm.stream_chunk_builder(chunks)
    calls = rebuilt.choices[0].message.tool_calls
    assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Oslo", "Rome"]
    assert rebuilt.choices[0].finish_reason == "tool_calls"


def test_structured_output(scripted: dict[str, Any]) -> None:
    reply = litellm.completion(messages=user(f"Say: {ALICE}"), response_format=Person, **scripted)
    assert Person.model_validate_json(reply.choices[0].message.content) == Person(name="Alice", age=30)
    loose = litellm.completion(messages=user(f"Say: {ALICE}"), response_format={"type": "json_object"}, **scripted)
    assert json.loads(loose.choices[0].message.content) == json.loads(ALICE)


def test_options(servers: Servers, scripted: dict[str, Any]) -> None:
    more: Any = {"n": 2, "seed": 1, "logprobs": True, "max_tokens": 8, "user": "u", "temperature": 1}
    reply = litellm.completion(messages=user("the sky"), **more, **options(servers.tiny))
    assert len(reply.choices) == 2
    assert reply.choices[0].logprobs.content
    stopped = litellm.completion(messages=user("Say: one two three"), stop=["two"], **scripted)
    assert stopped.choices[0].message.content.strip() == "one"


def test_completions(scripted: dict[str, Any]) -> None:
    text = {**scripted, "model": "text-completion-openai/nudged"}
    assert litellm.text_completion(prompt="Say: text", **text).choices[0].text == "text"
    assert "".join(
        c.choices[0].text or "" for c in litellm.text_completion(prompt="Say: a b", stream=True, **text)
    ) == ("a b")


def test_each_status_becomes_its_error(servers: Servers, scripted: dict[str, Any]) -> None:
    with pytest.raises(litellm.NotFoundError, match="there is no model 'gpt-9'"):
        litellm.completion(messages=user("Say: no"), **{**scripted, "model": "openai/gpt-9"})
    with pytest.raises(litellm.BadRequestError, match="temperature"):
        litellm.completion(messages=user("Say: no"), temperature=-1, **scripted)
    with pytest.raises(litellm.AuthenticationError, match="API key"):
        litellm.completion(messages=user("Say: no"), **options(servers.keyed))
    with pytest.raises(litellm.ContextWindowExceededError, match="limit of 100"):
        litellm.completion(messages=user(LONG_QUESTION), **options(servers.keyed, api_key=API_KEY))
    with pytest.raises(litellm.Timeout):
        litellm.completion(messages=user("Count: 500"), timeout=0.4, **options(servers.single))
    assert is_idle(servers.single)


async def test_a_busy_server_refuses_and_a_cancelled_stream_frees_it(servers: Servers) -> None:
    single = options(servers.single)
    stream: Any = await litellm.acompletion(messages=user("Count: 500"), stream=True, **single)
    await anext(stream)
    with pytest.raises(litellm.RateLimitError, match="try again"):
        await litellm.acompletion(messages=user("Say: now"), **single)
    await stream.aclose()
    del stream
    assert await asyncio.to_thread(is_idle, servers.single, 5)


async def test_twenty_at_once(scripted: dict[str, Any]) -> None:
    replies = await asyncio.gather(
        *(litellm.acompletion(messages=user(f"Say: answer {number}"), **scripted) for number in range(20))
    )
    assert [reply.choices[0].message.content for reply in replies] == [f"answer {number}" for number in range(20)]


def test_the_router_retries_a_busy_server(servers: Servers) -> None:
    router = litellm.Router(
        model_list=[{"model_name": "chat", "litellm_params": options(servers.scripted)}], num_retries=2
    )
    assert router.completion("chat", messages=user("Say: routed")).choices[0].message.content == "routed"


# the Responses API


def test_responses(scripted: dict[str, Any]) -> None:
    reply: Any = litellm.responses(input="Say: hello", instructions="Be brief.", **scripted)
    assert reply.output[0].content[0].text == "hello"
    assert reply.usage.total_tokens > 0
    events = list(litellm.responses(input="Say: one two", stream=True, **scripted))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "one two"


def test_responses_with_tools(scripted: dict[str, Any]) -> None:
    tool = {"type": "function", **WEATHER_TOOL["function"]}
    reply: Any = litellm.responses(input=CALL_OSLO, tools=[tool], **scripted)
    (call,) = [item for item in reply.output if item.type == "function_call"]
    assert json.loads(call.arguments) == {"city": "Oslo"}
    items = [
        {"role": "user", "content": CALL_OSLO},
        call.model_dump() if hasattr(call, "model_dump") else call,
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    again: Any = litellm.responses(input=items, tools=[tool], **scripted)
    assert again.output[-1].content[0].text == "The tool says: sunny"
