"""OpenAI's Python library, oldest supported and newest version."""

import asyncio
import json
import time
from typing import Any, Literal

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel
from servers import (
    ALICE,
    API_KEY,
    CALL_OSLO,
    CALL_TWO_CITIES,
    LONG_QUESTION,
    MODEL,
    NOW_TOOL,
    SAY_CALL_OSLO,
    WEATHER,
    WEATHER_TOOL,
    Person,
    Servers,
    is_idle,
    user,
)


class Mood(BaseModel):
    """Everything that a tiny random model needs to be kept within a schema."""

    kind: Literal["good", "bad"]
    sure: bool


@pytest.fixture
def tiny(servers: Servers) -> OpenAI:
    return OpenAI(base_url=servers.tiny, api_key="none", max_retries=0)


# chat


def test_models_are_listed_and_retrieved(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by == "nudging"


def test_a_chat_answers_with_usage(client: OpenAI) -> None:
    reply = client.chat.completions.create(model=MODEL, messages=user("Say: Hello there."))
    assert reply.object == "chat.completion"
    assert reply.choices[0].message.content == "Hello there."
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].message.refusal is None
    assert reply.choices[0].message.tool_calls is None
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    # the library itself does not check that all fields are there, others do
    ChatCompletion.model_validate(reply.to_dict())


@pytest.mark.parametrize("role", ["system", "developer"])
def test_instructions_reach_the_model(client: OpenAI, role: str) -> None:
    messages: Any = [{"role": role, "content": "Be brief."}, *user("Repeat the prompt.")]
    reply = client.chat.completions.create(model=MODEL, messages=messages)
    assert "system: Be brief." in (reply.choices[0].message.content or "")


def test_the_librarys_own_messages_can_be_sent_back(client: OpenAI) -> None:
    messages = user("Say: first")
    for dumped in (lambda m: m, lambda m: m.model_dump(), lambda m: m.to_dict(), lambda m: m.model_dump(mode="json")):
        reply = client.chat.completions.create(model=MODEL, messages=messages)
        messages += [dumped(reply.choices[0].message), *user("Say: next")]
    messages += user("Repeat the prompt.")
    text = client.chat.completions.create(model=MODEL, messages=messages).choices[0].message.content or ""
    assert text.count("assistant: next") == 3


def test_text_parts_and_names_are_accepted(client: OpenAI) -> None:
    messages: Any = [
        {"role": "user", "name": "alice", "content": [{"type": "text", "text": "Say: par"}]},
        {"role": "assistant", "name": "bot", "content": [{"type": "text", "text": "par"}], "refusal": None},
        {"role": "user", "content": [{"type": "text", "text": "Say: "}, {"type": "text", "text": "parts"}]},
    ]
    reply = client.chat.completions.create(model=MODEL, messages=messages)
    assert reply.choices[0].message.content == "parts"


def test_fields_of_openais_platform_are_accepted(client: OpenAI) -> None:
    fields: Any = {
        "user": "u1",
        "store": False,
        "metadata": {"run": "1"},
        "service_tier": "auto",
        "parallel_tool_calls": True,
        "tools": [WEATHER_TOOL],
        "stream": False,
        "top_p": 1,
        "seed": -3,
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "verbosity": "low",
        "reasoning_effort": "low",
    }
    reply = client.chat.completions.create(model=MODEL, messages=user("Say: yes"), **fields)
    assert reply.choices[0].message.content == "yes"


def test_several_answers(tiny: OpenAI) -> None:
    reply = tiny.chat.completions.create(
        model=MODEL, messages=user("the sky"), n=3, temperature=1.2, max_tokens=12, seed=5
    )
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in reply.choices}) > 1
    assert reply.usage is not None
    assert reply.usage.completion_tokens > 12


def test_several_answers_are_streamed(tiny: OpenAI) -> None:
    options: Any = {
        "model": MODEL,
        "messages": user("the sky"),
        "n": 2,
        "temperature": 1.2,
        "max_tokens": 12,
        "seed": 5,
    }
    whole = [choice.message.content for choice in tiny.chat.completions.create(**options).choices]
    texts, ends = ["", ""], list[int]()
    for chunk in tiny.chat.completions.create(**options, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            ends += [choice.index] if choice.finish_reason else []
    assert texts == whole
    assert sorted(ends) == [0, 1]


def test_stop_strings_and_limits(client: OpenAI) -> None:
    ask = client.chat.completions.create
    for stop in ("three", ["three", "never"]):
        reply = ask(model=MODEL, messages=user("Say: one two three four"), stop=stop)
        assert (reply.choices[0].message.content or "").rstrip() == "one two"
        assert reply.choices[0].finish_reason == "stop"
    for limit in ({"max_tokens": 2}, {"max_completion_tokens": 2}):
        reply = ask(model=MODEL, messages=user("Say: one two three"), **limit)
        assert reply.choices[0].message.content == "one two"
        assert reply.choices[0].finish_reason == "length"


def test_a_seed_repeats_a_sampled_answer(tiny: OpenAI) -> None:
    def ask(seed: int) -> str | None:
        reply = tiny.chat.completions.create(
            model=MODEL, messages=user("the sky"), seed=seed, temperature=1.5, max_tokens=30
        )
        return reply.choices[0].message.content

    assert ask(1) == ask(1)
    assert len({ask(seed) for seed in range(4)}) > 1


def test_top_p_of_zero_is_greedy(tiny: OpenAI) -> None:
    ask = tiny.chat.completions.create
    greedy = ask(model=MODEL, messages=user("the sky"), temperature=0, max_tokens=20)
    narrow = ask(model=MODEL, messages=user("the sky"), temperature=1, top_p=0, max_tokens=20)
    assert greedy.choices[0].message.content == narrow.choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_cover_the_answer(tiny: OpenAI, stream: bool) -> None:
    options: Any = {"model": MODEL, "messages": user("the sky"), "max_tokens": 10, "logprobs": True}
    whole = tiny.chat.completions.create(**options).choices[0]
    if stream:
        tokens = []
        for chunk in tiny.chat.completions.create(**options, stream=True):
            for choice in chunk.choices:
                tokens += (choice.logprobs.content or []) if choice.logprobs else []
    else:
        assert whole.logprobs is not None
        tokens = whole.logprobs.content or []
    assert b"".join(bytes(token.bytes or []) for token in tokens).decode() == whole.message.content
    assert all(token.logprob <= 0 for token in tokens)


# streams


def test_a_stream_adds_up_to_the_whole_answer(tiny: OpenAI) -> None:
    options: Any = {"model": MODEL, "messages": user("the sky is 🌍"), "max_tokens": 40}
    whole = tiny.chat.completions.create(**options)
    chunks = list(tiny.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert len({chunk.id for chunk in chunks}) == 1
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk.to_dict())
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert not chunks[-1].choices
    assert chunks[-1].usage == whole.usage
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["length"]


def test_the_stream_helper_returns_the_final_message(client: OpenAI) -> None:
    with client.chat.completions.stream(model=MODEL, messages=user("Say: streamed by events")) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert kinds[-1] == "content.done"
    assert final.choices[0].message.content == "streamed by events"


def test_raw_and_streaming_responses(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=user("Say: raw"))
    assert raw.headers["content-type"] == "application/json"
    assert raw.parse().choices[0].message.content == "raw"
    with client.chat.completions.with_streaming_response.create(
        model=MODEL, messages=user("Say: raw"), stream=True
    ) as reply:
        lines = [line for line in reply.iter_lines() if line and not line.startswith(":")]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"


# tools


def tool_calls(reply: Any) -> list[tuple[str, Any]]:
    calls = reply.choices[0].message.tool_calls or []
    return [(call.function.name, json.loads(call.function.arguments)) for call in calls]


def test_a_tool_is_called_and_its_result_is_used(client: OpenAI) -> None:
    ask = client.chat.completions.create
    messages = user(CALL_OSLO)
    reply = ask(model=MODEL, messages=messages, tools=[WEATHER_TOOL])
    assert tool_calls(reply) == [("weather", {"city": "Oslo"})]
    assert reply.choices[0].finish_reason == "tool_calls"
    message = reply.choices[0].message
    assert message.content is None  # as OpenAI's
    (call,) = message.tool_calls or []
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    assert ask(model=MODEL, messages=messages, tools=[WEATHER_TOOL]).choices[0].message.content == (
        "The tool says: sunny"
    )
    messages[-1]["content"] = [{"type": "text", "text": "rain"}]
    assert ask(model=MODEL, messages=messages).choices[0].message.content == "The tool says: rain"


def test_several_tools_are_called_at_once_or_not(client: OpenAI) -> None:
    ask = client.chat.completions.create
    reply = ask(model=MODEL, messages=user(CALL_TWO_CITIES), tools=[WEATHER_TOOL])
    assert [arguments["city"] for _, arguments in tool_calls(reply)] == ["Oslo", "Rome"]
    assert len({call.id for call in reply.choices[0].message.tool_calls or []}) == 2
    messages = [
        *user(CALL_TWO_CITIES),
        reply.choices[0].message,
        *(
            {"role": "tool", "tool_call_id": call.id, "content": f"sunny {index}"}
            for index, call in enumerate(reply.choices[0].message.tool_calls or [])
        ),
    ]
    assert ask(model=MODEL, messages=messages, tools=[WEATHER_TOOL]).choices[0].message.content == (
        "The tool says: sunny 1"
    )
    single = ask(model=MODEL, messages=user(CALL_TWO_CITIES), tools=[WEATHER_TOOL], parallel_tool_calls=False)
    assert len(tool_calls(single)) == 1


CHOICES: list[Any] = [
    "required",
    {"type": "function", "function": {"name": "weather"}},
    {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}]},
    },
]


@pytest.mark.parametrize("choice", CHOICES, ids=["required", "named", "allowed"])
def test_a_required_tool_is_called(client: OpenAI, tiny: OpenAI, choice: Any) -> None:
    options: Any = {"model": MODEL, "tools": [NOW_TOOL, WEATHER_TOOL], "tool_choice": choice, "max_tokens": 60}
    reply = client.chat.completions.create(messages=user(SAY_CALL_OSLO), **options)
    assert tool_calls(reply) == [("weather", {"city": "Oslo"})]
    (call, *_) = tool_calls(tiny.chat.completions.create(messages=user("the sky"), **options))
    assert call[0] in ("weather", "now")


def test_a_tool_may_be_forbidden_or_have_no_parameters(client: OpenAI) -> None:
    ask = client.chat.completions.create
    forbidden = ask(model=MODEL, messages=user("Say: none"), tools=[WEATHER_TOOL], tool_choice="none")
    assert forbidden.choices[0].message.content == "none"
    assert tool_calls(ask(model=MODEL, messages=user("Call: now {}"), tools=[NOW_TOOL])) == [("now", {})]
    strict: Any = {"type": "function", "function": {**WEATHER_TOOL["function"], "strict": True}}
    assert tool_calls(ask(model=MODEL, messages=user(CALL_OSLO), tools=[strict]))
    assert ask(model=MODEL, messages=user("Say: free"), tools=[NOW_TOOL]).choices[0].message.content == "free"


@pytest.mark.parametrize(
    ("question", "choice", "cities"),
    [(CALL_OSLO, "auto", ["Oslo"]), (CALL_TWO_CITIES, "auto", ["Oslo", "Rome"]), (SAY_CALL_OSLO, "required", ["Oslo"])],
)
def test_streamed_calls_join_to_json(client: OpenAI, question: str, choice: Any, cities: list[str]) -> None:
    arguments, ids, names = dict[int, str](), dict[int, str](), dict[int, str]()
    stream = client.chat.completions.create(
        model=MODEL, messages=user(question), tools=[WEATHER_TOOL], tool_choice=choice, stream=True
    )
    ends = []
    for chunk in stream:
        for part in chunk.choices[0].delta.tool_calls or []:
            assert part.function is not None
            if part.id:
                assert part.index not in ids
                ids[part.index], names[part.index] = part.id, part.function.name or ""
            arguments[part.index] = arguments.get(part.index, "") + (part.function.arguments or "")
        ends += [chunk.choices[0].finish_reason] if chunk.choices[0].finish_reason else []
    assert [json.loads(arguments[index])["city"] for index in sorted(arguments)] == cities
    assert list(ids) == list(range(len(cities)))
    assert set(names.values()) == {"weather"}
    assert ends == ["tool_calls"]


def test_the_stream_helper_joins_calls(client: OpenAI) -> None:
    strict: Any = {"type": "function", "function": {**WEATHER_TOOL["function"], "strict": True}}
    with client.chat.completions.stream(model=MODEL, messages=user(CALL_OSLO), tools=[strict]) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    assert tool_calls(final) == [("weather", {"city": "Oslo"})]
    assert [event.name for event in events if event.type == "tool_calls.function.arguments.done"] == ["weather"]


# structured output


def test_parse_returns_an_instance(client: OpenAI, tiny: OpenAI) -> None:
    parse = client.chat.completions.parse
    reply = parse(model=MODEL, messages=user(f"Say: {ALICE}"), response_format=Person)
    assert reply.choices[0].message.parsed == Person(name="Alice", age=30)
    random = tiny.chat.completions.parse(model=MODEL, messages=user("the sky"), response_format=Mood, max_tokens=60)
    assert isinstance(random.choices[0].message.parsed, Mood)
    with client.chat.completions.stream(model=MODEL, messages=user(f"Say: {ALICE}"), response_format=Person) as stream:
        list(stream)
        assert stream.get_final_completion().choices[0].message.parsed == Person(name="Alice", age=30)
    called = parse(
        model=MODEL,
        messages=user('Call: Person {"name": "Bo", "age": 3}'),
        tools=[openai.pydantic_function_tool(Person)],
    )
    (call,) = called.choices[0].message.tool_calls or []
    assert call.function.parsed_arguments == Person(name="Bo", age=3)


def test_a_limit_too_small_for_the_schema_is_refused(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"max_tokens=2.*needs"):
        client.chat.completions.parse(model=MODEL, messages=user(f"Say: {ALICE}"), response_format=Person, max_tokens=2)


def test_json_object_and_strict_json_schema(tiny: OpenAI) -> None:
    ask = tiny.chat.completions.create
    schema: Any = {"name": "weather", "schema": WEATHER, "strict": True, "description": "A city"}
    for response_format in ({"type": "json_schema", "json_schema": schema}, {"type": "json_object"}, {"type": "text"}):
        reply = ask(model=MODEL, messages=user("answer in JSON"), response_format=response_format, max_tokens=200)
        if response_format["type"] != "text" and reply.choices[0].finish_reason == "stop":
            assert isinstance(json.loads(reply.choices[0].message.content or ""), dict)


def test_tools_and_a_response_format_together(client: OpenAI) -> None:
    ask = client.chat.completions.parse
    tools: Any = [{"type": "function", "function": {**WEATHER_TOOL["function"], "strict": True}}]
    answered = ask(model=MODEL, messages=user(f"Say: {ALICE}"), response_format=Person, tools=tools)
    assert answered.choices[0].message.parsed == Person(name="Alice", age=30)
    assert tool_calls(ask(model=MODEL, messages=user(CALL_OSLO), response_format=Person, tools=tools))


# completions


def test_completions(client: OpenAI, tiny: OpenAI) -> None:
    reply = client.completions.create(model=MODEL, prompt=["Say: a", "Say: b"])
    assert [(choice.index, choice.text) for choice in reply.choices] == [(0, "a"), (1, "b")]
    texts = {0: "", 1: ""}
    for chunk in client.completions.create(model=MODEL, prompt=["Say: a b", "Say: c d"], stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == {0: "a b", 1: "c d"}
    tokens: list[str] = []
    for chunk in tiny.completions.create(model=MODEL, prompt="the sky", logprobs=1, stream=True, max_tokens=6):
        for choice in chunk.choices:
            tokens += (choice.logprobs.tokens or []) if choice.logprobs else []
    assert tokens


# errors


def test_each_status_becomes_the_librarys_error(servers: Servers, client: OpenAI) -> None:
    ask = client.chat.completions.create
    with pytest.raises(openai.NotFoundError, match=r"there is no model 'gpt-4o'.*'nudged'") as unknown:
        ask(model="gpt-4o", messages=user("Say: no"))
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="temperature"):
        ask(model=MODEL, messages=user("Say: no"), temperature=-1)
    with pytest.raises(openai.BadRequestError, match="messages"):
        ask(model=MODEL, messages=[])
    with pytest.raises(openai.BadRequestError, match="image"):
        ask(
            model=MODEL,
            messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}],
        )
    with pytest.raises(openai.BadRequestError, match=r"stream|temperature"):
        ask(model=MODEL, messages=user("Say: no"), temperature=-1, stream=True)
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model=MODEL, input="x")
    keyed = OpenAI(base_url=servers.keyed, api_key=API_KEY, max_retries=0)
    with pytest.raises(openai.AuthenticationError, match="API key") as wrong:
        keyed.with_options(api_key="sk-wrong").chat.completions.create(model=MODEL, messages=user("Say: no"))
    assert "sk-" not in str(wrong.value)
    with pytest.raises(openai.BadRequestError, match="limit of 100") as long:
        keyed.chat.completions.create(model=MODEL, messages=user(LONG_QUESTION))
    assert long.value.code == "context_length_exceeded"
    assert keyed.chat.completions.create(model=MODEL, messages=user("Say: ok")).choices[0].message.content == "ok"


def test_a_busy_server_is_tried_again(servers: Servers) -> None:
    busy = OpenAI(base_url=servers.single, api_key="none", max_retries=0)
    with busy.chat.completions.create(model=MODEL, messages=user("Count: 60"), stream=True) as stream:
        next(iter(stream))
        with pytest.raises(openai.RateLimitError, match="try again") as refused:
            busy.chat.completions.create(model=MODEL, messages=user("Say: now"))
        assert float(refused.value.response.headers["retry-after"]) > 0
        patient = busy.with_options(max_retries=5).chat.completions.create
        # the stream is not read further: an answer of 1.2 seconds, of which the client waits for the rest
        assert patient(model=MODEL, messages=user("Say: now")).choices[0].message.content == "now"
    assert is_idle(servers.single)


# cancelled requests


def test_closing_a_stream_frees_its_slot(servers: Servers) -> None:
    single = OpenAI(base_url=servers.single, api_key="none", max_retries=0)
    with single.chat.completions.create(model=MODEL, messages=user("Count: 500"), stream=True) as stream:
        next(iter(stream))
    assert is_idle(servers.single, 3)
    assert single.chat.completions.create(model=MODEL, messages=user("Say: free")).choices[0].message.content == "free"


def test_a_time_out_frees_the_slot(servers: Servers) -> None:
    single = OpenAI(base_url=servers.single, api_key="none", max_retries=0)
    started = time.monotonic()
    with pytest.raises(openai.APITimeoutError):
        single.chat.completions.create(model=MODEL, messages=user("Count: 500"), timeout=0.4)
    assert time.monotonic() - started < 3
    assert is_idle(servers.single, 3)


async def test_cancelling_a_task_frees_the_slot(servers: Servers) -> None:
    async with AsyncOpenAI(base_url=servers.single, api_key="none", max_retries=0) as single:
        asked = asyncio.create_task(single.chat.completions.create(model=MODEL, messages=user("Count: 500")))
        await asyncio.sleep(0.3)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert await asyncio.to_thread(is_idle, servers.single, 3)


async def test_twenty_at_once_get_their_own_answers(servers: Servers) -> None:
    async with AsyncOpenAI(base_url=servers.scripted, api_key="none", max_retries=0) as client:

        async def ask(number: int) -> str:
            stream = await client.chat.completions.create(
                model=MODEL, messages=user(f"Say: answer {number}"), stream=True
            )
            return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

        answers = await asyncio.gather(*(ask(number) for number in range(20)))
    assert answers == [f"answer {number}" for number in range(20)]
