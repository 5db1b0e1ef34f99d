"""Requests may contain everything that OpenAI's clients send. Wrong requests are refused in plain words."""

import json
import re
import time
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from jsonschema import Draft202012Validator
from nudging import Nudger, ScriptedModel, Step
from nudging.serving import Limits, create_app
from served import post_directly
from tiny import tiny_gemma, tiny_llama

HI = {"role": "user", "content": "Hi"}
JSON = {"content-type": "application/json"}
NOW = {"type": "function", "function": {"name": "now"}}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def client(text: str = "Hello there.", **options: Any) -> TestClient:
    model = ScriptedModel(text)
    return TestClient(create_app(Nudger(model, model), **options), raise_server_exceptions=False)


def chat(text: str = "Hello there.", **body: Any) -> Any:
    return answer_of(client(text).post("/v1/chat/completions", json={"messages": [HI], **body}))


def answer_of(response: Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def events_of(response: Response) -> list[Any]:
    assert response.status_code == 200, response.text
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def error_of(response: Response, status: int = 400) -> str:
    assert response.status_code == status, response.text
    return str(response.json()["error"]["message"])


def prompts_of(**body: Any) -> list[str]:
    """Return the prompts that the models see."""
    seen: list[str] = []

    def script(prompt: str, text: str) -> Sequence[Step]:
        seen.append(prompt)
        return [Step("", 0.9, end=True)]

    model = ScriptedModel(script)
    template = "{% for m in messages %}{{ (m.name is defined and m.name) or m.role }}: {{ m.content }}\n{% endfor %}"
    app = create_app(Nudger(model, model, base_template=template, nudging_template=template))
    answer_of(TestClient(app).post("/v1/chat/completions", json=body))
    return seen


# messages


@pytest.mark.parametrize(
    "fields",
    [
        {"refusal": None, "annotations": None, "audio": None, "function_call": None, "tool_calls": None},
        {"annotations": [], "reasoning_content": "Hm.", "cache_control": {"type": "ephemeral"}, "reasoning": "Hm."},
        {"provider_specific_fields": {"a": 1}, "id": "msg_1", "prefix": True, "weight": 0},
        {"tool_calls": [], "refusal": "No."},
    ],
)
def test_fields_of_messages_that_are_not_known_are_ignored(fields: dict[str, Any]) -> None:
    assert chat(messages=[HI, {"role": "assistant", "content": "Hello.", **fields}, {**HI, **fields}])["choices"]


def test_names_reach_a_prompt_whose_template_has_them() -> None:
    messages = [{**HI, "name": "Ann"}, {"role": "user", "name": "Ben", "content": "Hello"}]
    assert set(prompts_of(messages=messages)) == {"Ann: Hi\nBen: Hello\n"}


@pytest.mark.parametrize("content", ["", None, [], [{"type": "text", "text": ""}]])
@pytest.mark.parametrize("before", [[], [HI, {"role": "assistant", "content": "Hello."}]])
def test_a_question_may_be_empty(content: Any, before: list[Any]) -> None:
    assert chat(messages=[*before, {"role": "user", "content": content}])["choices"][0]["message"]["content"]


# tools


def test_a_tool_needs_no_parameters() -> None:
    (call,) = chat(tools=[NOW], tool_choice="required")["choices"][0]["message"]["tool_calls"]
    assert (call["function"]["name"], call["function"]["arguments"]) == ("now", "{}")


def test_a_reply_with_calls_alone_has_no_content() -> None:
    (choice,) = chat(tools=[NOW], tool_choice="required")["choices"]
    assert choice["message"]["content"] is None
    assert choice["finish_reason"] == "tool_calls"


def test_only_allowed_tools_are_called() -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "look"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    for _ in range(3):
        message = chat(tools=[NOW, LOOK], tool_choice=choice)["choices"][0]["message"]
        assert message["tool_calls"][0]["function"]["name"] == "look"


def test_each_call_has_a_chunk_of_its_own() -> None:
    text = "\n".join(f'<tool_call>\n{{"name": "{name}", "arguments": {{}}}}\n</tool_call>' for name in ("look", "now"))
    body = {"messages": [HI], "tools": [NOW, LOOK], "stream": True}
    events = events_of(client(text).post("/v1/chat/completions", json=body))
    deltas = [choice["delta"].get("tool_calls") or [] for event in events for choice in event["choices"]]
    started = [call["function"]["name"] for calls in deltas for call in calls if "name" in call["function"]]
    assert started == ["look", "now"]
    assert max(map(len, deltas)) == 1


# formats


def test_a_json_object_may_have_a_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [7]}}, "required": ["a"], "additionalProperties": False}
    found = chat("none", response_format={"type": "json_object", "schema": schema})
    assert json.loads(found["choices"][0]["message"]["content"]) == {"a": 7}


def test_whole_numbers_may_be_written_with_a_fraction() -> None:
    assert chat(max_tokens=1.0)["usage"]["completion_tokens"] == 1


@pytest.mark.parametrize("seed", [-5, 2**63, 2**80])
def test_any_integer_is_a_seed(seed: int) -> None:
    assert chat(seed=seed, temperature=1)["choices"]


# several answers


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Nudger:
    folder = tmp_path_factory.mktemp("tiny")
    base, nudging = tiny_gemma(folder / "gemma", context=512), tiny_llama(folder / "llama", context=512)
    return Nudger(base, nudging, threshold=0.2, max_tokens=16)


@pytest.mark.parametrize("limits", [Limits(), Limits(at_once=1, queue=0)])
def test_n_answers_are_those_of_n_seeds(tiny: Nudger, limits: Limits) -> None:
    body = {"messages": [HI], "n": 3, "seed": 5, "temperature": 1.0}
    reply = answer_of(TestClient(create_app(tiny, limits=limits)).post("/v1/chat/completions", json=body))
    expected = [tiny.generate([HI], temperature=1.0, seed=seed) for seed in (5, 6, 7)]
    assert [choice["message"]["content"] for choice in reply["choices"]] == [answer.text for answer in expected]
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2]
    assert reply["usage"]["prompt_tokens"] == expected[0].usage.prompt_tokens
    assert reply["usage"]["completion_tokens"] == sum(answer.usage.completion_tokens for answer in expected)


@pytest.mark.parametrize("limits", [Limits(), Limits(at_once=1, queue=0)])
def test_several_prompts_are_streamed_with_their_numbers(tiny: Nudger, limits: Limits) -> None:
    body = {"prompt": ["why?", "who?"], "n": 2, "stream": True, "stream_options": {"include_usage": True}}
    events = events_of(TestClient(create_app(tiny, limits=limits)).post("/v1/completions", json=body))
    texts, ends = dict.fromkeys(range(4), ""), list[int]()
    for choice in (choice for event in events for choice in event["choices"]):
        texts[choice["index"]] += choice["text"]
        ends += [choice["index"]] if choice["finish_reason"] else []
    assert [texts[0], texts[2]] == [tiny.generate(prompt).text for prompt in ("why?", "who?")]
    assert (texts[0], texts[2]) == (texts[1], texts[3])
    assert sorted(ends) == [0, 1, 2, 3]
    assert events[-1]["usage"]["completion_tokens"] == sum(
        2 * tiny.generate(prompt).usage.completion_tokens for prompt in ("why?", "who?")
    )


def test_a_top_p_of_zero_takes_the_most_probable_token(tiny: Nudger) -> None:
    http = TestClient(create_app(tiny))
    sampled = {"temperature": 1, "top_p": 0}
    chosen = answer_of(http.post("/v1/chat/completions", json={"messages": [HI], **sampled}))["choices"][0]["message"]
    assert chosen["content"] == tiny.generate([HI]).text
    (item,) = answer_of(http.post("/v1/responses", json={"input": [HI], **sampled}))["output"]
    assert item["content"][0]["text"] == tiny.generate([HI]).text


# log-probabilities


def test_streamed_log_probabilities_come_with_the_text_of_their_chunk(tiny: Nudger) -> None:
    http = TestClient(create_app(tiny))
    body = {"messages": [HI], "logprobs": True, "top_logprobs": 3, "stream": True}
    choices = [
        choice for event in events_of(http.post("/v1/chat/completions", json=body)) for choice in event["choices"]
    ]
    written = [choice for choice in choices if choice.get("nudging")]
    assert len(written) > 1
    for choice in written:
        tokens = choice["logprobs"]["content"]
        assert "".join(token["token"] for token in tokens) == choice["delta"]["content"]
        for token in tokens:
            tops = [top["logprob"] for top in token["top_logprobs"]]
            assert len(tops) == 3
            assert tops == sorted(tops, reverse=True)
            assert token["logprob"] <= tops[0] + 1e-5
    assert not any(choice.get("logprobs") for choice in choices if not choice.get("nudging"))


def test_log_probabilities_of_whole_answers_are_the_engines(tiny: Nudger) -> None:
    expected = tiny.generate("why?", logprobs=True).logprobs or ()
    http = TestClient(create_app(tiny))
    (found,) = answer_of(http.post("/v1/completions", json={"prompt": "why?", "logprobs": 2}))["choices"]
    assert found["logprobs"]["token_logprobs"] == pytest.approx([one.logprob for one in expected], abs=1e-4)
    assert found["logprobs"]["text_offset"][0] == 0
    assert all(1 <= len(tops) <= 2 for tops in found["logprobs"]["top_logprobs"])
    streamed = events_of(http.post("/v1/completions", json={"prompt": "why?", "logprobs": 0, "stream": True}))
    offsets = [at for event in streamed for choice in event["choices"] if choice.get("logprobs")
               for at in choice["logprobs"]["text_offset"]]  # fmt: skip
    assert offsets == sorted(offsets)


# one model alone


@pytest.mark.parametrize("author", ["base", "nudging"])
def test_one_model_answers_alone(tiny: Nudger, author: str) -> None:
    http = TestClient(create_app(tiny))
    whole = answer_of(http.post("/v1/chat/completions", json={"messages": [HI], "alone": author, "max_tokens": 8}))
    pieces = whole["choices"][0]["nudging"]["pieces"]
    assert {piece["author"] for piece in pieces} == {author}
    body = {"messages": [HI], "alone": author, "max_tokens": 8, "stream": True, "logprobs": True}
    events = events_of(http.post("/v1/chat/completions", json=body))
    text = "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])
    assert text == whole["choices"][0]["message"]["content"]


def test_the_model_card_names_the_pair_and_its_settings(tiny: Nudger) -> None:
    (card,) = answer_of(TestClient(create_app(tiny)).get("/v1/models"))["data"]
    assert card["nudging"]["settings"]["threshold"] == 0.2
    assert {"base_model", "nudging_model"} <= card["nudging"].keys()
    assert "/" not in card["nudging"]["base_model"]


# refusals


BROKEN: list[tuple[bytes, str]] = [
    (b"", "send a JSON object"),
    (b"{", "the body is not JSON: Expecting property name"),
    (b"null", "send a JSON object"),
    (b"[1]", "send a JSON object"),
    (b'{"messages": \xff}', "not valid UTF-8: invalid start byte at byte 13"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"max_tokens": ' + b"9" * 5000 + b"}", "cannot be read as JSON"),
    (b"{}", "messages: is missing"),
    (b'{"messages": ["Hi"]}', "messages[0]: must be an object, not 'Hi'"),
    (b'{"messages": [{"content": "Hi"}]}', "messages[0].role: is missing"),
    (b'{"messages": [{"role": "robot"}]}', "messages[0].role: 'robot' is not known: choose from 'user'"),
    (b'{"messages": [{"role": "user", "content": 5}]}', "messages[0].content: 5 is not text"),
    (b'{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', "only text is"),
    (b'{"messages": [{"role": "user", "content": [{"type": "text"}]}]}', "has no text in 'text'"),
]
FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"stop": 5}, "stop: must be a string or a list, not 5"),
    ({"n": 100}, "n: must be less than or equal to 16, not 100"),
    ({"seed": 1.5}, "seed: must be an integer, not 1.5"),
    ({"temperature": float("nan")}, "temperature: must be a finite number"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type: must be 'function', not 'web_search'"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    ({"functions": [NOW]}, "functions: "),
    ({"modalities": ["text", "audio"]}, "answers are text"),
    ({"frequency_penalty": False}, "frequency_penalty: False is not supported"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema: is missing"),
    (
        {"response_format": {"type": "json_object"}, "max_tokens": 3},
        "JSON or a tool call needs at least 8 tokens",
    ),
    ({"tools": [NOW], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": []}}}, "list the tools"),
]


@pytest.mark.parametrize(("body", "reason"), BROKEN, ids=[reason for _, reason in BROKEN])
def test_a_broken_body_is_explained(body: bytes, reason: str) -> None:
    assert reason in error_of(client().post("/v1/chat/completions", content=body, headers=JSON))


@pytest.mark.parametrize(("body", "reason"), FIELDS, ids=[reason for _, reason in FIELDS])
def test_a_wrong_field_is_named_with_what_it_must_be(body: dict[str, Any], reason: str) -> None:
    content = json.dumps({"messages": [HI], **body})
    response = client().post("/v1/chat/completions", content=content, headers=JSON)
    assert reason in error_of(response)
    if ": " in reason and "=" not in reason:
        assert response.json()["error"]["param"] in reason


def test_a_body_without_its_content_type_is_explained() -> None:
    content = json.dumps({"messages": [HI]})
    for headers in ({}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}):
        response = client().post("/v1/chat/completions", content=content, headers=headers)
        assert "content-type: application/json" in error_of(response)


def test_unknown_paths_and_methods_are_explained() -> None:
    assert "there is no '/v1/embeddings'" in error_of(client().post("/v1/embeddings", json={}), 404)
    assert "use POST" in error_of(client().get("/v1/chat/completions"), 405)


def test_a_long_prompt_is_refused_in_words_that_clients_look_for() -> None:
    response = client(limits=Limits(prompt_tokens=3)).post(
        "/v1/chat/completions", json={"messages": [{"role": "user", "content": "one two three four five"}]}
    )
    assert "maximum context length is" in error_of(response)
    assert response.json()["error"]["code"] == "context_length_exceeded"


# streams


async def test_a_silent_stream_is_kept_alive_with_comments() -> None:
    async def read(limits: Limits) -> str:
        def script(prompt: str, text: str) -> Sequence[Step]:
            time.sleep(0.3 if not text else 0)
            return [Step("Hello.", 0.9), Step("", 0.9, end=True)]

        model = ScriptedModel(script)
        app = create_app(Nudger(model, model), limits=limits)
        sent: list[bytes] = []

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))

        await post_directly(app, {"messages": [HI], "stream": True}, send)
        return b"".join(sent).decode()

    kept = await read(Limits(keep_alive=0.05))
    assert kept.startswith(": keep-alive\n\n")
    assert kept.replace(": keep-alive\n\n", "").startswith("data: {")
    assert ": keep-alive" not in await read(Limits())


def test_proxies_are_told_not_to_hold_a_stream_back() -> None:
    headers = client().post("/v1/chat/completions", json={"messages": [HI], "stream": True}).headers
    assert (headers["x-accel-buffering"], headers["cache-control"]) == ("no", "no-cache")


def test_infinite_log_probabilities_are_sent_as_a_number() -> None:
    sure = ScriptedModel("Hello there.", probability=0)
    body = {"messages": [HI], "logprobs": True}
    (choice,) = answer_of(TestClient(create_app(Nudger(sure, sure))).post("/v1/chat/completions", json=body))["choices"]
    assert {one["logprob"] for one in choice["logprobs"]["content"]} == {-9999.0}


def test_the_schema_says_what_comes_and_which_roles_there_are() -> None:
    schema = client().get("/openapi.json").json()
    names = schema["components"]["schemas"]
    assert {"ChatReply", "CompletionReply", "ResponseReply", "ModelList", "ErrorReply"} <= names.keys()
    assert "developer" in names["UserMessage"]["properties"]["role"]["enum"]
    asked = {
        "/v1/chat/completions": {"messages": [HI]},
        "/v1/completions": {"prompt": "Hi"},
        "/v1/responses": {"input": "Hi"},
    }
    for path, body in asked.items():
        stream = schema["paths"][path]["post"]["responses"]["200"]["content"]["text/event-stream"]["schema"]
        chunk = stream["properties"]["data"]["anyOf"][0]["contentSchema"]["$ref"].rpartition("/")[2]
        events = events_of(client().post(path, json={**body, "stream": True}))
        validator = Draft202012Validator({"$ref": f"#/components/schemas/{chunk}", "components": schema["components"]})
        for event in events:
            validator.validate(event)


def test_every_reference_of_the_schema_is_there() -> None:
    text = client().get("/openapi.json").text
    names = json.loads(text)["components"]["schemas"].keys()
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', text)) <= names
