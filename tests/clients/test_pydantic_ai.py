"""Pydantic AI with both of OpenAI's APIs, and Instructor."""

import asyncio
from typing import Any

import instructor
import pytest
from openai import OpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from servers import ALICE, CALL_OSLO, CALL_TWO_CITIES, MODEL, Servers


class Person(BaseModel):
    """A person."""

    name: str
    age: int


PERSON = Person(name="Alice", age=30)


def weather(city: str) -> str:
    """Return the weather."""
    return f"sunny in {city}"


@pytest.fixture(params=[OpenAIChatModel, OpenAIResponsesModel], ids=["chat", "responses"])
def model_at(request: pytest.FixtureRequest) -> Any:
    def make(url: str) -> Model:
        model: Model = request.param(MODEL, provider=OpenAIProvider(base_url=url, api_key="none"))
        return model

    return make


@pytest.fixture
def model(model_at: Any, servers: Servers) -> Model:
    made: Model = model_at(servers.scripted)
    return made


async def test_an_answer_and_the_next(model: Model) -> None:
    agent = Agent(model, instructions="Be brief.")
    first = await agent.run("Say: first")
    assert first.output == "first"
    assert first.usage.input_tokens > 0
    second = await agent.run("Repeat the prompt.", message_history=first.all_messages())
    assert "system: Be brief." in second.output
    assert "assistant: first" in second.output


async def test_a_stream(model: Model) -> None:
    async with Agent(model).run_stream("Count: 5") as stream:
        parts = [part async for part in stream.stream_text(delta=True, debounce_by=None)]
    assert "".join(parts) == "1 2 3 4 5"
    assert len(parts) > 1


@pytest.mark.parametrize("question", [CALL_OSLO, CALL_TWO_CITIES])
async def test_tools_are_called_to_the_end(model: Model, question: str) -> None:
    agent = Agent(model, tools=[weather])
    expected = f"The tool says: sunny in {'Rome' if 'Rome' in question else 'Oslo'}"
    found = await agent.run(question)
    assert found.output == expected
    async with agent.run_stream(question) as stream:
        assert await stream.get_output() == expected
    assert (await agent.run("Say: next", message_history=found.all_messages())).output == "next"


@pytest.mark.parametrize(
    ("output", "question"),
    [
        (ToolOutput(Person, name="person"), f'Say: {{"name": "person", "arguments": {ALICE}}}'),
        (NativeOutput(Person), f"Say: {ALICE}"),
        (PromptedOutput(Person), f"Say: {ALICE}"),
    ],
    ids=["tool", "native", "prompted"],
)
async def test_structured_output(model: Model, output: Any, question: str) -> None:
    assert (await Agent(model, output_type=output).run(question)).output == PERSON
    async with Agent(model, output_type=output).run_stream(question) as stream:
        assert await stream.get_output() == PERSON


async def test_errors_are_readable(model_at: Any, servers: Servers) -> None:
    with pytest.raises(ModelHTTPError, match="API key"):
        await Agent(model_at(servers.keyed)).run("Say: no")


async def test_twenty_at_once(model: Model) -> None:
    agent = Agent(model)
    found = await asyncio.gather(*(agent.run(f"Say: answer {number}") for number in range(20)))
    assert [one.output for one in found] == [f"answer {number}" for number in range(20)]


@pytest.mark.parametrize("mode", ["TOOLS", "TOOLS_STRICT", "JSON", "JSON_SCHEMA", "MD_JSON", "RESPONSES_TOOLS"])
def test_instructor(servers: Servers, mode: str) -> None:
    client = instructor.from_openai(OpenAI(base_url=servers.scripted, api_key="none"), mode=instructor.Mode[mode])
    question = f'Say: {{"name": "Person", "arguments": {ALICE}}}' if "TOOLS" in mode else f"Say: {ALICE}"
    asked: Any = {"model": MODEL, "messages": [{"role": "user", "content": f"{question} "}], "max_retries": 0}
    assert client.chat.completions.create(response_model=Person, **asked).model_dump() == PERSON.model_dump()
