"""Tests of tool calling and structured output in LangChain.

The models are scripted, to test the translation only. `test_real_models.py` and LangChain's own suite use real models.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers.openai_tools import PydanticToolsParser
from langchain_core.tools import tool
from nudging import GrammarError, PromptError, ScriptedModel
from pydantic import BaseModel, ConfigDict, Field
from recorders import recorded_prompts
from typing_extensions import TypedDict

from langchain_nudging import ChatNudging, NudgingLLM


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def now() -> str:
    """The time."""
    return "noon"


@tool
def say(words: str) -> str:
    """Say it aloud."""
    return words


LONG = f'{{"name": "say", "arguments": {{"words": "{"one and two and three " * 8}"}}}}'
CALL = {"name": "add", "args": {"a": 1, "b": 2}, "type": "tool_call"}
FORCED = '{"name": "add", "arguments": {"a": 1, "b": 2}}'
HERMES = f"Let me see. <tool_call>\n{FORCED}\n</tool_call>"
MALFORMED = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": }</tool_call>'


def scripted(text: str) -> ChatNudging:
    model = ScriptedModel(text)
    return ChatNudging(base_model=model, nudging_model=model)


def calls(message: BaseMessage) -> list[dict[str, Any]]:
    assert isinstance(message, AIMessage)
    assert len({call["id"] for call in message.tool_calls}) == len(message.tool_calls)
    return [{key: value for key, value in call.items() if key != "id"} for call in message.tool_calls]


def add_up(chunks: Sequence[AIMessageChunk]) -> AIMessageChunk:
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk  # type: ignore[assignment]
    return total


@pytest.mark.parametrize(
    ("text", "choice", "content", "expected"),
    [
        (FORCED, "any", "", [CALL]),
        (FORCED, "add", "", [CALL]),
        (FORCED, None, "", [CALL]),
        (HERMES, "auto", "Let me see.", [CALL]),
        (HERMES * 2, None, "Let me see. Let me see.", [CALL, CALL]),
        (HERMES, "none", HERMES, []),
        ("It is 3, I think.", None, "It is 3, I think.", []),
    ],
)
async def test_each_method_returns_the_same_tool_calls(
    text: str, choice: Any, content: str, expected: list[dict[str, Any]]
) -> None:
    chat = scripted(text).bind_tools([add, now], tool_choice=choice)
    streamed = [chunk async for chunk in chat.astream("1 + 2?")]
    for message in [
        chat.invoke("1 + 2?"),
        *chat.batch(["1 + 2?"]),
        await chat.ainvoke("1 + 2?"),
        add_up(list(chat.stream("1 + 2?"))),  # type: ignore[arg-type]
        add_up(streamed),  # type: ignore[arg-type]
    ]:
        assert message.content == content
        assert calls(message) == expected
        assert not message.invalid_tool_calls


def test_a_forced_call_streams_as_it_is_written() -> None:
    chunks = list(scripted(LONG).bind_tools([say], tool_choice="any").stream("Speak."))
    parts = [part for chunk in chunks for part in chunk.tool_call_chunks]  # type: ignore[attr-defined]
    assert [part["name"] for part in parts if part["name"]] == ["say"]
    assert len(parts) > 10
    assert "".join(part["args"] for part in parts) == LONG.removeprefix('{"name": "say", "arguments": ')[:-1]


def test_a_malformed_call_is_invalid_with_and_without_streaming() -> None:
    chat = scripted(MALFORMED).bind_tools([add])
    for message in [chat.invoke("1 + 2?"), add_up(list(chat.stream("1 + 2?")))]:  # type: ignore[arg-type]
        assert not message.tool_calls
        (invalid,) = message.invalid_tool_calls  # type: ignore[attr-defined]
        assert invalid["name"] == "add"
        assert "arguments" in invalid["args"]


def test_the_grammar_completes_a_forced_call() -> None:
    message = scripted('{"name": "add", "arguments": {"a": 1, ').bind_tools([add], tool_choice="any").invoke("Hi")
    assert calls(message) == [{**CALL, "args": {"a": 1, "b": 0}}]


def test_tools_and_their_results_are_in_both_prompts() -> None:
    model, prompts = recorded_prompts()
    chat = ChatNudging(base_model=model, nudging_model=model).bind_tools([add])
    history = [
        HumanMessage("1 + 2?"),
        AIMessage("", tool_calls=[{**CALL, "id": "x"}]),  # type: ignore[list-item]
        ToolMessage("three", tool_call_id="x", name="add"),
    ]
    chat.invoke(history)
    assert all(part in prompts[0] for part in ("Add two numbers.", '"a": 1', "<tool_response>\nthree"))
    base = chat.bound.nudger.prompts(  # type: ignore[attr-defined]
        [{"role": "user", "content": "1 + 2?"}],
        tools=chat.kwargs["tools"],  # type: ignore[attr-defined]
    ).base
    assert "Add two numbers." in base


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([HumanMessage([{"type": "image_url", "image_url": "x"}])], "content of type 'image_url'"),
        ([HumanMessage([{"type": "image", "base64": "x", "mime_type": "image/png"}])], "content of type 'image'"),
    ],
)
def test_a_message_that_no_prompt_can_contain_raises(messages: list[BaseMessage], reason: str) -> None:
    with pytest.raises(PromptError, match=reason):
        scripted("Hi").invoke(messages)


def test_bind_tools_raises_for_invalid_tools() -> None:
    chat = scripted("Hi")
    with pytest.raises(GrammarError, match="no such tool"):
        chat.bind_tools([add], tool_choice="subtract")
    with pytest.raises(GrammarError, match="give a JSON schema, or none"):
        chat.bind_tools([{"type": "function", "function": {"name": "add", "parameters": "none"}}])
    with pytest.raises(GrammarError, match="without tools"):
        chat.bind_tools([], tool_choice="any")


# structured output


class Pet(BaseModel):
    """A pet."""

    name: str
    kind: Literal["cat", "dog"]
    age: int = Field(ge=0, le=30)
    friends: list["Pet"] = []


class PetDict(TypedDict):
    """A pet."""

    name: Annotated[str, ..., "the name of the pet"]
    age: int


PET = '{"name": "Tom", "kind": "cat", "age": 3, "friends": []}'
METHODS = ["function_calling", "json_schema", "json_mode"]


def written(method: str, name: str, arguments: str) -> str:
    return f'{{"name": "{name}", "arguments": {arguments}}}' if method == "function_calling" else arguments


@pytest.mark.parametrize("method", METHODS)
async def test_structured_output_of_a_pydantic_model(method: Any) -> None:
    chat = scripted(written(method, "Pet", PET)).with_structured_output(Pet, method=method, strict=True)
    tom = Pet(name="Tom", kind="cat", age=3)
    assert chat.invoke("A pet?") == tom
    assert await chat.ainvoke("A pet?") == tom
    assert list(chat.stream("A pet?"))[-1] == tom


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", [PetDict, {"title": "PetDict", **Pet.model_json_schema()}], ids=["typed", "json"])
def test_structured_output_as_a_dictionary(method: Any, schema: Any) -> None:
    schema = schema if isinstance(schema, type) else {**schema, "title": "PetDict"}
    arguments = '{"name": "Tom", "age": 3}' if isinstance(schema, type) else PET
    chat = scripted(written(method, "PetDict", arguments)).with_structured_output(schema, method=method)
    assert chat.invoke("A pet?")["name"] == "Tom"
    assert list(chat.stream("A pet?"))[-1]["age"] == 3


@pytest.mark.parametrize("method", METHODS)
def test_include_raw_returns_the_message_too(method: Any) -> None:
    text = written(method, "Pet", PET)
    chat = scripted(text).with_structured_output(Pet, method=method, include_raw=True)
    result = chat.invoke("A pet?")
    assert result["parsed"].name == "Tom"
    assert result["parsing_error"] is None
    assert isinstance(result["raw"], AIMessage)


@pytest.mark.parametrize("method", METHODS)
def test_an_answer_that_reaches_max_tokens_still_validates(method: Any) -> None:
    endless = written(method, "Pet", '{"name": "Tom ' + "and Tom " * 200)
    chat = scripted(endless).with_structured_output(Pet, method=method)
    assert chat.invoke("A pet?", max_tokens=30).name.startswith("Tom and Tom")


def test_json_mode_without_a_schema_returns_any_object() -> None:
    assert scripted('{"a": [1, null]}').with_structured_output(method="json_mode").invoke("Hi") == {"a": [1, None]}
    with pytest.raises(ValueError, match="needs a schema"):
        scripted("").with_structured_output()
    with pytest.raises(ValueError, match="choose from function_calling"):
        scripted("").with_structured_output(Pet, method="xml")  # type: ignore[arg-type]


def test_a_response_format_sets_the_schema() -> None:
    chat = scripted(PET)
    form = {"type": "json_schema", "json_schema": {"name": "Pet", "schema": Pet.model_json_schema(), "strict": True}}
    assert chat.invoke("A pet?", response_format=form).content == PET
    assert chat.invoke("A pet?", response_format={"type": "json_object"}).content == PET
    assert chat.invoke("A pet?", response_format={"type": "text"}).content == PET


def test_a_schema_that_needs_more_than_max_tokens_raises_before_decoding() -> None:
    def decode(prompt: str, text: str) -> list[Any]:
        raise AssertionError("decoded")

    model = ScriptedModel(decode)
    chat = ChatNudging(base_model=model, nudging_model=model, max_tokens=4)
    with pytest.raises(GrammarError, match=r"max_tokens=4: the schema 'Pet' needs at least \d+ tokens"):
        chat.with_structured_output(Pet).invoke("A pet?")


def test_a_regex_and_tools_exclude_each_other() -> None:
    with pytest.raises(GrammarError, match="regex and tools exclude each other"):
        scripted(PET).bind_tools([add]).invoke("Hi", regex="a")
    assert scripted("seven or 7").invoke("Hi", regex="seven.*").content == "seven or 7"


class Sum(BaseModel):
    total: int


SUM = '{"total": 3}'
TAGGED = f"<tool_call>\n{FORCED}\n</tool_call>"


def test_with_tools_the_structured_output_is_a_call_or_json() -> None:
    for method in ("json_schema", "json_mode"):
        chat = scripted(SUM).with_structured_output(Sum, method=method, tools=[add])  # type: ignore[arg-type]
        assert chat.invoke("1 + 2?") == Sum(total=3)
        called = scripted(TAGGED).with_structured_output(Sum, method=method, tools=[add], include_raw=True)  # type: ignore[arg-type]
        result = called.invoke("1 + 2?")
        assert (result["parsed"], result["parsing_error"], calls(result["raw"])) == (None, None, [CALL])
    by_function = scripted(FORCED).with_structured_output(Sum, method="function_calling", tools=[add], include_raw=True)
    result = by_function.invoke("1 + 2?")
    assert (result["parsed"], calls(result["raw"])) == (None, [CALL])


T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    data: T


class Titled(BaseModel):
    model_config = ConfigDict(title="My data")
    data: int


@dataclass
class Data:
    data: int


class DataDict(TypedDict):
    data: int


DATA = '{"data": 3}'
TITLED = {"title": "My data", **Box[int].model_json_schema(), "description": "Some data."}
SCHEMAS = [
    Box[int],
    Titled,
    Data,
    DataDict,
    {**TITLED, "title": "My data"},
    {"name": "my data", "parameters": TITLED},
    {"type": "function", "function": {"name": "my data", "parameters": TITLED}},
    {"type": "json_schema", "json_schema": {"name": "my data", "schema": TITLED, "strict": True}},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_a_schema_of_any_kind_and_name_is_followed(method: Any, schema: Any) -> None:
    output = scripted(DATA).with_structured_output(schema, method=method).invoke("x")
    value = output["data"] if isinstance(output, dict) else output.data
    assert value == (0 if method == "function_calling" else 3)


@pytest.mark.parametrize("schema", [*SCHEMAS, {"type": "json_schema", "json_schema": {"name": "n", "schema": TITLED}}])
def test_a_response_format_is_a_schema_of_any_kind(schema: Any) -> None:
    assert scripted(DATA).invoke("x", response_format=schema).content == DATA
    model = ScriptedModel(DATA)
    llm = NudgingLLM(base_model=model, nudging_model=model)
    assert llm.invoke("x", schema=schema) == llm.invoke("x", response_format=schema) == DATA


@pytest.mark.parametrize("tool", [Box[int], Titled])
def test_a_tool_of_any_name_is_called_by_its_own_name(tool: Any) -> None:
    chat = scripted("").bind_tools([tool], tool_choice="any")
    name = "Box[int]" if tool is not Titled else "My data"
    call, streamed = chat.invoke("x"), add_up(list(chat.stream("x")))  # type: ignore[arg-type]
    assert calls(call) == calls(streamed) == [{"name": name, "args": {"data": 0}, "type": "tool_call"}]
    assert (chat | PydanticToolsParser(tools=[tool])).invoke("x") == [tool(data=0)]
    assert scripted("").bind_tools([tool], tool_choice=name).invoke("x").tool_calls
    model, prompts = recorded_prompts()
    history = [HumanMessage("x"), call, ToolMessage("3", tool_call_id=call.tool_calls[0]["id"])]  # type: ignore[attr-defined]
    ChatNudging(base_model=model, nudging_model=model).bind_tools([tool]).invoke(history)
    assert prompts[0].count(f'"name": "{re.sub(r"[^a-zA-Z]", "_", name)}"') == 2  # in the tools and in the call


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "function", "function": {"name": "add"}}, "add"),
        ({"type": "function", "name": "add"}, "add"),
        ({"type": "tool", "name": "add"}, "add"),
        ({"type": "any"}, "add"),
        ({"type": "auto"}, None),
        ({"type": "none"}, None),
    ],
)
def test_a_tool_choice_may_be_a_dictionary(choice: Any, expected: Any) -> None:
    for message in [
        scripted("Hi.").bind_tools([add], tool_choice=choice).invoke("x"),
        scripted("Hi.").bind_tools([add]).invoke("x", tool_choice=choice),
    ]:
        assert [call["name"] for call in message.tool_calls] == ([expected] if expected else [])
