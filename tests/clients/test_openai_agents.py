"""The OpenAI Agents SDK, with the chat completions API and with the Responses API, which is its default."""

import asyncio
import json
from typing import Any

import agents
import openai
import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    Model,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    SQLiteSession,
    function_tool,
    handoff,
    input_guardrail,
    output_guardrail,
)
from openai import AsyncOpenAI
from servers import (
    ALICE,
    API_KEY,
    CALL_OSLO,
    CALL_TWO_CITIES,
    LONG_QUESTION,
    MODEL,
    SAY_CALL_OSLO,
    Person,
    Servers,
    is_idle,
)

agents.set_tracing_disabled(True)


@function_tool
def weather(city: str) -> str:
    """Return the weather."""
    return f"sunny in {city}"


@function_tool
def now() -> str:
    """Return the time."""
    return "noon"


@pytest.fixture(params=[OpenAIChatCompletionsModel, OpenAIResponsesModel], ids=["chat", "responses"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def model_at(kind: Any, url: str, key: str = "none", name: str = MODEL) -> Model:
    client = AsyncOpenAI(base_url=url, api_key=key, max_retries=0)
    made: Model = kind(model=name, openai_client=client)
    return made


@pytest.fixture
def model(kind: Any, servers: Servers) -> Model:
    return model_at(kind, servers.scripted)


async def test_an_agent_answers_with_usage(model: Model) -> None:
    found = await Runner.run(Agent(name="a", instructions="Be brief.", model=model), "Say: Hello there.")
    assert found.final_output == "Hello there."
    assert found.context_wrapper.usage.total_tokens > 0


async def test_instructions_reach_the_model(model: Model) -> None:
    found = await Runner.run(Agent(name="a", instructions="Be brief.", model=model), "Repeat the prompt.")
    assert "system: Be brief." in found.final_output


async def test_an_agent_is_streamed(model: Model) -> None:
    streamed = Runner.run_streamed(Agent(name="a", model=model), "Count: 5")
    deltas = [
        event.data.delta
        async for event in streamed.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    assert "".join(deltas) == streamed.final_output == "1 2 3 4 5"
    assert len(deltas) > 1


@pytest.mark.parametrize("question", [CALL_OSLO, CALL_TWO_CITIES])
async def test_tools_are_called_to_the_end(model: Model, question: str) -> None:
    agent = Agent(name="a", model=model, tools=[weather, now])
    found = await Runner.run(agent, question)
    city = "Rome" if "Rome" in question else "Oslo"
    assert found.final_output == f"The tool says: sunny in {city}"
    streamed = Runner.run_streamed(agent, question)
    kinds = [event.name async for event in streamed.stream_events() if event.type == "run_item_stream_event"]
    assert kinds.count("tool_called") == kinds.count("tool_output") == question.count("Call:")
    assert streamed.final_output == found.final_output


async def test_a_conversation_goes_on(model: Model) -> None:
    agent = Agent(name="a", model=model, tools=[weather])
    first = await Runner.run(agent, CALL_OSLO)
    second = await Runner.run(agent, [*first.to_input_list(), {"role": "user", "content": "Say: second"}])
    third = await Runner.run(
        Agent(name="b", model=model), [*second.to_input_list(), {"role": "user", "content": "Repeat the prompt."}]
    )
    assert second.final_output == "second"
    assert "The tool says: sunny in Oslo" in third.final_output
    assert "assistant: second" in third.final_output


async def test_a_session_remembers(model: Model) -> None:
    session = SQLiteSession("s")
    agent = Agent(name="a", model=model)
    await Runner.run(agent, "Say: remembered", session=session)
    found = await Runner.run(agent, "Repeat the prompt.", session=session)
    assert "assistant: remembered" in found.final_output


@pytest.mark.parametrize("choice", ["required", "weather"])
async def test_a_required_tool_is_called(model: Model, choice: str) -> None:
    agent = Agent(name="a", model=model, tools=[weather, now], model_settings=ModelSettings(tool_choice=choice))
    found = await Runner.run(agent, SAY_CALL_OSLO)
    assert found.final_output == "The tool says: sunny in Oslo"


async def test_settings_are_accepted(model: Model) -> None:
    settings = ModelSettings(
        temperature=0.5, top_p=0.9, max_tokens=2, truncation="auto", store=False, parallel_tool_calls=True, metadata={}
    )
    found = await Runner.run(Agent(name="a", model=model, tools=[now], model_settings=settings), "Say: one two three")
    assert found.final_output == "one two"


async def test_a_structured_answer(model: Model) -> None:
    agent = Agent(name="a", model=model, output_type=Person)
    assert (await Runner.run(agent, f"Say: {ALICE}")).final_output == Person(name="Alice", age=30)
    streamed = Runner.run_streamed(agent, f"Say: {ALICE}")
    async for _ in streamed.stream_events():
        pass
    assert streamed.final_output == Person(name="Alice", age=30)


async def test_a_structured_answer_after_a_tool(model: Model) -> None:
    @function_tool
    def find(name: str) -> str:
        """Find a person."""
        return f"Say: {ALICE}"

    agent = Agent(name="a", model=model, tools=[find], output_type=str)
    found = await Runner.run(agent, 'Call: find {"name": "Alice"}')
    assert "Alice" in found.final_output


async def test_an_agent_hands_over_to_another(model: Model) -> None:
    weatherman = Agent(name="Weather agent", model=model, tools=[weather], handoff_description="Knows the weather.")
    first = Agent(name="first", model=model, handoffs=[weatherman, handoff(Agent(name="Other", model=model))])
    found = await Runner.run(first, "Call: transfer_to_weather_agent {}")
    assert found.last_agent.name == "Weather agent"
    assert "Weather agent" in found.final_output


async def test_an_agent_is_a_tool_of_another(model: Model) -> None:
    inner = Agent(name="inner", model=model)
    outer = Agent(name="outer", model=model, tools=[inner.as_tool("ask", "Ask the inner agent.")])
    found = await Runner.run(outer, 'Call: ask {"input": "Say: from inside"}')
    assert found.final_output == "The tool says: from inside"


async def test_guardrails(model: Model) -> None:
    judge = Agent(name="judge", model=model, output_type=Person)

    @input_guardrail
    async def check(_: Any, __: Any, text: Any) -> GuardrailFunctionOutput:
        judged = await Runner.run(judge, f"Say: {ALICE}")
        return GuardrailFunctionOutput(judged.final_output, tripwire_triggered="bad" in str(text))

    @output_guardrail
    async def watch(_: Any, __: Any, output: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output, tripwire_triggered=False)

    agent = Agent(name="a", model=model, input_guardrails=[check], output_guardrails=[watch])
    assert (await Runner.run(agent, "Say: good")).final_output == "good"
    with pytest.raises(InputGuardrailTripwireTriggered):
        await Runner.run(agent, "Say: bad")


async def test_each_status_becomes_its_error(kind: Any, servers: Servers) -> None:
    async def ask(model: Model, question: str = "Say: no") -> None:
        await Runner.run(Agent(name="a", model=model), question)

    with pytest.raises(openai.AuthenticationError, match="API key"):
        await ask(model_at(kind, servers.keyed))
    with pytest.raises(openai.BadRequestError, match="limit of 100"):
        await ask(model_at(kind, servers.keyed, API_KEY), LONG_QUESTION)
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-9'"):
        await ask(model_at(kind, servers.scripted, name="gpt-9"))


async def test_previous_responses_are_refused_with_words(servers: Servers) -> None:
    agent = Agent(name="a", model=model_at(OpenAIResponsesModel, servers.scripted))
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        await Runner.run(agent, "Say: no", previous_response_id="resp_1")


async def test_a_cancelled_run_frees_the_slot(kind: Any, servers: Servers) -> None:
    agent = Agent(name="a", model=model_at(kind, servers.single))
    streamed = Runner.run_streamed(agent, "Count: 500")
    async for event in streamed.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            streamed.cancel()
            break
    assert await asyncio.to_thread(is_idle, servers.single)
    running = asyncio.create_task(Runner.run(agent, "Count: 500"))
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await asyncio.to_thread(is_idle, servers.single)


async def test_twenty_runs_at_once(model: Model) -> None:
    agent = Agent(name="a", model=model, tools=[weather])
    cities = [f"city{number}" for number in range(20)]
    found = await asyncio.gather(
        *(Runner.run(agent, f"Call: weather {json.dumps({'city': city})}", run_config=RunConfig()) for city in cities)
    )
    assert [one.final_output for one in found] == [f"The tool says: sunny in {city}" for city in cities]
