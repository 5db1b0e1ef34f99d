"""The Responses API, as OpenAI's own client calls it, and what it cannot do."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import openai
import pytest
from nudging import Nudger, ScriptedModel, ServerError, Step
from nudging.serving.responses.items import FunctionCall, ItemReference
from nudging.serving.responses.recent import RecentItems
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import ResponseFunctionToolCall
from pydantic import BaseModel
from served import serving

pytestmark = pytest.mark.enable_socket

TEXT = "Rayleigh scattering makes the sky blue."
CALL = '<tool_call>\n{"name": "look", "arguments": {"red": true}}\n</tool_call>'


class Colour(BaseModel):
    """A colour."""

    red: bool


LOOK: Any = {"type": "function", "name": "look", "parameters": Colour.model_json_schema(), "strict": True}


@pytest.fixture
def serve() -> Iterator[Any]:
    """Return a function that serves a scripted pair, and returns OpenAI's client of it."""
    with ExitStack() as running:

        def start(script: Any = TEXT, **options: Any) -> OpenAI:
            model = ScriptedModel(script)
            url = running.enter_context(serving(Nudger(model, model, **options)))
            return OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)

        yield start


def test_a_text_is_answered_with_a_message(serve: Any) -> None:
    found = serve().responses.create(model="nudged", input="Why?", instructions="Be brief.")
    assert found.output_text == TEXT
    assert (found.status, found.error, found.incomplete_details) == ("completed", None, None)
    assert found.usage.output_tokens == len(TEXT.split())
    assert found.usage.total_tokens == found.usage.input_tokens + found.usage.output_tokens
    assert [piece["text"] for piece in found.nudging["pieces"]] == [TEXT]


def test_a_stream_has_openais_events_in_their_order(serve: Any) -> None:
    events = list(serve().responses.create(model="nudged", input="Why?", stream=True))
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert [event.type.removeprefix("response.") for event in events if event not in deltas] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in deltas) == TEXT
    assert {event.item_id for event in events if hasattr(event, "item_id")} == {events[-1].response.output[0].id}
    assert {event.nudging["author"] for event in deltas} <= {"base", "nudging"}
    assert events[-1].response.output_text == TEXT


async def test_the_clients_stream_helper_puts_the_answer_together(serve: Any) -> None:
    url = serve().base_url
    async with (
        AsyncOpenAI(base_url=url, api_key="none") as api,
        api.responses.stream(model="nudged", input="Why?") as stream,
    ):
        async for _ in stream:
            pass
        assert (await stream.get_final_response()).output_text == TEXT


def test_an_answer_that_is_cut_is_incomplete(serve: Any) -> None:
    ask = serve().responses.create
    found = ask(model="nudged", input="Why?", max_output_tokens=2)
    assert (found.status, found.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert found.output[0].status == "incomplete"
    *_, last = ask(model="nudged", input="Why?", max_output_tokens=2, stream=True)
    assert (last.type, last.response.output_text) == ("response.incomplete", found.output_text)


@pytest.mark.parametrize(
    ("script", "choice"),
    [(TEXT, "required"), (TEXT, {"type": "function", "name": "look"}), (CALL, "auto"), (f"I look.\n{CALL}", "auto")],
)
def test_tools_are_called_whole_and_streamed(serve: Any, script: str, choice: Any) -> None:
    ask = serve(script).responses.create
    request = {"model": "nudged", "input": "Which?", "tools": [LOOK], "tool_choice": choice}
    found = ask(**request)
    *before, call = found.output
    assert (call.type, call.name, call.status) == ("function_call", "look", "completed")
    Colour.model_validate_json(call.arguments)
    assert [item.type for item in before] == (["message"] if script.startswith("I") else [])
    events = list(ask(**request, stream=True))
    streamed = "".join(one.delta for one in events if one.type == "response.function_call_arguments.delta")
    (done,) = [one for one in events if one.type == "response.function_call_arguments.done"]
    assert json.loads(streamed) == json.loads(done.arguments) == json.loads(call.arguments)
    assert [item.type for item in events[-1].response.output] == [item.type for item in found.output]


def test_the_output_of_a_call_reaches_the_models(serve: Any) -> None:
    prompts: list[str] = []

    def script(prompt: str, text: str) -> list[Step]:
        prompts.append(prompt)
        return [Step("Red.", 0.9), Step("", 0.9, end=True)]

    call = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"red": true}'}
    serve(script).responses.create(
        model="nudged",
        instructions="Be brief.",
        tools=[LOOK],
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "Which?"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            call,
            {**call, "call_id": "call_2"},
            {"type": "function_call_output", "call_id": "call_1", "output": "a red one"},
            {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "again"}]},
        ],
    )
    for part in ("Be brief.", "Which?", "Let me look.", '"red"', "a red one", "again"):
        assert part in prompts[-1]
    assert "rs_1" not in prompts[-1]


def test_a_schema_is_followed_and_parsed(serve: Any) -> None:
    found = serve("none").responses.parse(model="nudged", input="Which?", text_format=Colour)
    assert isinstance(found.output_parsed, Colour)
    assert found.text.format.name == "Colour"
    assert found.text.format.strict is True
    as_object = serve('{"a": 1}').responses.create(model="nudged", input="Hi", text={"format": {"type": "json_object"}})
    assert isinstance(json.loads(as_object.output_text), dict)


def test_log_probabilities_are_included_on_request(serve: Any) -> None:
    ask = serve().responses.create
    request: Any = {"model": "nudged", "input": "Why?", "include": ["message.output_text.logprobs"], "top_logprobs": 1}
    (part,) = ask(**request).output[0].content
    assert "".join(one.token for one in part.logprobs) == TEXT
    assert all(len(one.top_logprobs) == 1 for one in part.logprobs)
    events = list(ask(**request, stream=True))
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert all("".join(one.token for one in event.logprobs) == event.delta for event in deltas)
    assert not ask(model="nudged", input="Why?").output[0].content[0].logprobs


@pytest.mark.parametrize("stream", [False, True])
def test_the_output_of_an_answer_can_be_sent_back(serve: Any, stream: bool) -> None:
    api = serve(f"I look.\n{CALL}")
    request: Any = {"model": "nudged", "tools": [LOOK]}
    question: Any = {"role": "user", "content": "Which?"}
    found = api.responses.create(**request, input=[question], stream=stream)
    output = list(found)[-1].response.output if stream else found.output
    result: Any = {"type": "function_call_output", "call_id": output[-1].call_id, "output": "red"}
    whole = api.responses.create(**request, input=[question, *output, result])
    referred: Any = [{"type": "item_reference", "id": item.id} for item in output]
    assert api.responses.create(**request, input=[question, *referred, result]).output_text == whole.output_text


def test_the_oldest_items_are_forgotten() -> None:
    recent = RecentItems(size=2)
    calls = [
        ResponseFunctionToolCall(id=f"fc_{n}", call_id="c", name="look", arguments="{}", type="function_call")
        for n in range(3)
    ]
    recent.remember(calls)
    reference = ItemReference(type="item_reference", id="fc_2")
    assert isinstance(recent.resolved([reference])[0], FunctionCall)
    with pytest.raises(Exception, match="send the item itself"):
        recent.resolved([ItemReference(type="item_reference", id="fc_0")])


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"previous_response_id": "resp_1"}, "nothing is stored here: send the whole conversation"),
    ({"conversation": "conv_1"}, "nothing is stored here"),
    ({"background": True}, "while the client is connected"),
    ({"input": []}, "input: must have at least 1 item"),
    ({"input": 5}, "input: must be a string or a list, not 5"),
    ({"input": [{"role": "robot", "content": "Hi"}]}, "input[0]: send a message with the role user"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "only text is"),
    ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema: is missing"),
    ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "without tools"),
    ({"tools": [LOOK], "tool_choice": {"type": "web_search"}}, "only functions can be called"),
    ({"tools": [{"type": "function", "function": {"name": "look"}}]}, "tools[0].name: is missing"),
    ({"tools": [LOOK], "tool_choice": {"type": "function", "name": "hear"}}, "there is no such tool"),
]


@pytest.mark.parametrize(("body", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_what_cannot_be_done_is_refused(serve: Any, body: dict[str, Any], reason: str) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        serve().responses.create(**{"model": "nudged", "input": "Hi", **body})
    assert reason in raised.value.message


def test_items_and_responses_that_are_not_here_are_not_found(serve: Any) -> None:
    api = serve()
    with pytest.raises(openai.NotFoundError, match="store: false"):
        api.responses.create(model="nudged", input=[{"type": "item_reference", "id": "msg_1"}])
    with pytest.raises(openai.NotFoundError, match="not stored"):
        api.responses.retrieve("resp_1")
    with pytest.raises(openai.NotFoundError, match="there is no model"):
        api.responses.create(model="gpt-9", input="Hi")


def test_hosted_tools_and_unknown_fields_are_left_out(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    found = serve().responses.create(
        model="nudged",
        input="Hi",
        tools=[LOOK, {"type": "web_search"}],
        store=True,
        truncation="auto",
        metadata={"a": "b"},
        reasoning={"effort": "low"},
        extra_body={"client_metadata": {}},
    )
    assert [tool.name for tool in found.tools] == ["look"]
    assert found.metadata == {"a": "b"}


def test_an_error_in_the_middle_of_a_stream_is_its_last_event(serve: Any) -> None:
    def script(prompt: str, text: str) -> list[Step]:
        if text.count(" ") > 3:
            raise ServerError("the base server at http://x/v1: gone")
        return [Step(f" word{text.count(' ')}", 0.1)]

    *_, last = serve(script, max_tokens=40).responses.create(model="nudged", input="Hi", stream=True)
    assert last.type == "response.failed"
    assert "gone" in last.response.error.message
