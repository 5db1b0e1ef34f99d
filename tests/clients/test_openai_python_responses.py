"""The Responses API of OpenAI's Python library, oldest supported and newest version."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from servers import (
    ALICE,
    API_KEY,
    CALL_OSLO,
    CALL_TWO_CITIES,
    LONG_QUESTION,
    MODEL,
    SAY_CALL_OSLO,
    WEATHER,
    Person,
    Servers,
    is_idle,
    user,
)

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
WEATHER_TOOL: Any = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}
NOW_TOOL: Any = {"type": "function", "name": "now"}


@pytest.fixture
def single(servers: Servers) -> OpenAI:
    return OpenAI(base_url=servers.single, api_key="none", max_retries=0)


def strictly(event: Any) -> None:
    """Raise if an event lacks a field that OpenAI's types require. The library itself does not check it."""
    EVENT.validate_python(event.to_dict())


def test_text(client: OpenAI) -> None:
    reply = client.responses.create(model=MODEL, input="Say: Hello there.", instructions="Be brief.")
    assert reply.output_text == "Hello there."
    assert (reply.object, reply.status, reply.error, reply.model) == ("response", "completed", None, MODEL)
    assert reply.instructions == "Be brief."
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens
    Response.model_validate(reply.to_dict())


def test_instructions_and_developer_messages_reach_the_model(client: OpenAI) -> None:
    items: Any = [{"role": "developer", "content": "Use words."}, *user("Repeat the prompt.")]
    text = client.responses.create(model=MODEL, input=items, instructions="Be brief.").output_text
    assert "Be brief." in text
    assert "Use words." in text


def test_items_can_be_sent_back(client: OpenAI) -> None:
    items = user("Say: first")
    for dumped in (lambda item: item, lambda item: item.model_dump(), lambda item: item.to_dict()):
        reply = client.responses.create(model=MODEL, input=items)
        items += [*map(dumped, reply.output), *user("Say: next")]
    items += [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Repeat the prompt."}]}]
    text = client.responses.create(model=MODEL, input=items).output_text
    assert text.count("assistant: next") == 2
    assert "assistant: first" in text


def test_events_come_in_openais_order(client: OpenAI) -> None:
    events = list(client.responses.create(model=MODEL, input="Count: 3", stream=True))
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 3,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    for event in events:
        strictly(event)
    assert len({event.item_id for event in events if hasattr(event, "item_id")}) == 1
    last: Any = events[-1]
    assert last.response.output_text == "1 2 3"
    assert last.response.usage.output_tokens == 3


@pytest.mark.parametrize(
    ("question", "choice", "cities"),
    [(CALL_OSLO, "auto", ["Oslo"]), (CALL_TWO_CITIES, "auto", ["Oslo", "Rome"]), (SAY_CALL_OSLO, "required", ["Oslo"])],
)
def test_events_of_calls(client: OpenAI, question: str, choice: Any, cities: list[str]) -> None:
    arguments = dict[str, str]()
    found = []
    stream = client.responses.create(model=MODEL, input=question, tools=[WEATHER_TOOL], tool_choice=choice, stream=True)
    for event in stream:
        strictly(event)
        if event.type == "response.function_call_arguments.delta":
            arguments[event.item_id] = arguments.get(event.item_id, "") + event.delta
        if event.type == "response.function_call_arguments.done":
            assert arguments[event.item_id] == event.arguments
        if event.type == "response.output_item.done" and event.item.type == "function_call":
            assert event.item.id is not None
            assert arguments[event.item.id] == event.item.arguments
            found.append(json.loads(event.item.arguments)["city"])
    assert found == cities


def test_the_stream_helper(client: OpenAI) -> None:
    with client.responses.stream(model=MODEL, input=f"Say: {ALICE}", text_format=Person) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_parsed == Person(name="Alice", age=30)


def test_a_tool_is_called_and_its_result_is_used(client: OpenAI) -> None:
    ask = client.responses.create
    items = user(CALL_TWO_CITIES)
    reply = ask(model=MODEL, input=items, tools=[WEATHER_TOOL, NOW_TOOL])
    calls = [item for item in reply.output if item.type == "function_call"]
    assert [json.loads(call.arguments)["city"] for call in calls] == ["Oslo", "Rome"]
    items += [*reply.output]
    items += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]
    assert ask(model=MODEL, input=items, tools=[WEATHER_TOOL]).output_text == "The tool says: sunny"
    items[-1]["output"] = [{"type": "input_text", "text": "rain"}]
    assert ask(model=MODEL, input=items, tools=[WEATHER_TOOL]).output_text == "The tool says: rain"


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "name": "weather"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "weather"}]},
    ],
    ids=["required", "named", "allowed"],
)
def test_a_required_tool_is_called(client: OpenAI, choice: Any) -> None:
    reply = client.responses.create(
        model=MODEL, input=SAY_CALL_OSLO, tools=[WEATHER_TOOL, NOW_TOOL], tool_choice=choice
    )
    assert [item.name for item in reply.output if item.type == "function_call"] == ["weather"]
    Response.model_validate(reply.to_dict())


def test_tools_forbidden_one_at_a_time_or_without_parameters(client: OpenAI) -> None:
    ask = client.responses.create
    assert ask(model=MODEL, input="Say: none", tools=[WEATHER_TOOL], tool_choice="none").output_text == "none"
    one = ask(model=MODEL, input=CALL_TWO_CITIES, tools=[WEATHER_TOOL], parallel_tool_calls=False)
    assert len([item for item in one.output if item.type == "function_call"]) == 1
    (call,) = ask(model=MODEL, input="Call: now {}", tools=[NOW_TOOL]).output
    assert call.type == "function_call"
    assert call.arguments == "{}"


def test_hosted_tools_are_left_out(client: OpenAI) -> None:
    hosted: Any = [{"type": "web_search"}, {"type": "namespace", "name": "agents", "tools": [NOW_TOOL]}]
    reply = client.responses.create(model=MODEL, input=CALL_OSLO, tools=[*hosted, WEATHER_TOOL])
    assert [item.type for item in reply.output] == ["function_call"]
    assert client.responses.create(model=MODEL, input="Say: text", tools=hosted).output_text == "text"


def test_structured_output(client: OpenAI) -> None:
    parsed = client.responses.parse(model=MODEL, input=f"Say: {ALICE}", text_format=Person)
    assert parsed.output_parsed == Person(name="Alice", age=30)
    schema: Any = {"type": "json_schema", "name": "weather", "schema": WEATHER, "strict": True}
    for text_format in (schema, {"type": "json_object"}, {"type": "text"}):
        reply = client.responses.create(
            model=MODEL, input='Say: {"city": "Oslo"}', text={"format": text_format, "verbosity": "low"}
        )
        assert json.loads(reply.output_text) == {"city": "Oslo"}
        Response.model_validate(reply.to_dict())
    raw = client.responses.with_raw_response.create(model=MODEL, input='Say: {"city": "Oslo"}', text={"format": schema})
    assert json.loads(raw.content)["text"]["format"]["schema"] == WEATHER


def test_an_answer_that_is_cut(client: OpenAI) -> None:
    reply = client.responses.create(model=MODEL, input="Say: one two three", max_output_tokens=2)
    assert (reply.output_text, reply.status) == ("one two", "incomplete")
    assert reply.incomplete_details is not None
    assert reply.incomplete_details.reason == "max_output_tokens"
    *_, last = client.responses.create(model=MODEL, input="Say: one two three", max_output_tokens=2, stream=True)
    assert last.type == "response.incomplete"
    strictly(last)


def test_log_probabilities(servers: Servers) -> None:
    tiny = OpenAI(base_url=servers.tiny, api_key="none", max_retries=0)
    wanted: Any = {"include": ["message.output_text.logprobs"], "top_logprobs": 2, "max_output_tokens": 16}
    (message,) = tiny.responses.create(model=MODEL, input="the sky", **wanted).output
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "output_text"
    assert part.logprobs
    for event in tiny.responses.create(model=MODEL, input="the sky", stream=True, **wanted):
        strictly(event)


def test_fields_of_openais_platform_are_accepted(client: OpenAI) -> None:
    fields: Any = {
        "store": True,
        "metadata": {"run": "1"},
        "truncation": "auto",
        "service_tier": "auto",
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "temperature": 0.5,
        "top_p": 0.9,
        "background": False,
        "max_tool_calls": 3,
    }
    reply = client.responses.create(model=MODEL, input="Say: yes", **fields)
    assert reply.output_text == "yes"
    assert reply.metadata == {"run": "1"}


def test_each_status_becomes_the_librarys_error(servers: Servers, client: OpenAI) -> None:
    ask = client.responses.create
    for field, value in (("previous_response_id", "resp_1"), ("conversation", "conv_1"), ("background", True)):
        with pytest.raises(openai.BadRequestError, match=field):
            ask(model=MODEL, input="Say: no", **{field: value})  # type: ignore[call-overload]
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-9'"):
        ask(model="gpt-9", input="Say: no")
    with pytest.raises(openai.BadRequestError, match="temperature"):
        ask(model=MODEL, input="Say: no", temperature=-1)
    with pytest.raises(openai.BadRequestError, match="image"):
        ask(model=MODEL, input=[{"role": "user", "content": [{"type": "input_image", "image_url": "http://x"}]}])
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_1")
    with pytest.raises(openai.AuthenticationError, match="API key"):
        OpenAI(base_url=servers.keyed, api_key="wrong").responses.create(model=MODEL, input="Say: no")
    keyed = OpenAI(base_url=servers.keyed, api_key=API_KEY, max_retries=0)
    with pytest.raises(openai.BadRequestError, match="100") as long:
        keyed.responses.create(model=MODEL, input=LONG_QUESTION)
    assert long.value.code == "context_length_exceeded"


def test_cancelled_streams_and_time_outs_free_the_slot(servers: Servers, single: OpenAI) -> None:
    with single.responses.create(model=MODEL, input="Count: 500", stream=True) as stream:
        next(iter(stream))
        with pytest.raises(openai.RateLimitError, match="try again"):
            single.responses.create(model=MODEL, input="Say: now")
    assert is_idle(servers.single, 3)
    with pytest.raises(openai.APITimeoutError):
        single.responses.create(model=MODEL, input="Count: 500", timeout=0.4)
    assert is_idle(servers.single, 3)


async def test_twenty_at_once(servers: Servers) -> None:
    async with AsyncOpenAI(base_url=servers.scripted, api_key="none", max_retries=0) as client:
        replies = await asyncio.gather(
            *(client.responses.create(model=MODEL, input=f"Say: answer {number}") for number in range(20))
        )
    assert [reply.output_text for reply in replies] == [f"answer {number}" for number in range(20)]
