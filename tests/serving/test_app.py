"""`nudging serve`, called by OpenAI's client, LangChain, LlamaIndex and plain HTTP."""

import asyncio
import gc
import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from langchain_openai import ChatOpenAI
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike
from nudging import Nudger, ScriptedModel, ServerError, Step
from nudging.serving import Limits, create_app
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel
from served import post_directly, serving, wait_until
from tiny import tiny_gemma, tiny_llama

pytestmark = pytest.mark.enable_socket

QUESTION = "why is the sky blue?"
MESSAGES: Any = [{"role": "system", "content": "the sun is far away"}, {"role": "user", "content": QUESTION}]
API_KEY = "sk-test"
JSON = {"content-type": "application/json"}

Serve = Callable[..., str]


class Colour(BaseModel):
    """A colour."""

    red: bool


TOOLS: Any = [{"type": "function", "function": {"name": "look", "parameters": Colour.model_json_schema()}}]


@pytest.fixture(scope="module")
def long_context_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny pair whose contexts have room for tools."""
    folder = tmp_path_factory.mktemp("long_context")
    return tiny_gemma(folder / "gemma", context=4096), tiny_llama(folder / "llama", context=4096)


@pytest.fixture
def tiny_pair_nudger(long_context_pair: tuple[Path, Path]) -> Nudger:
    return Nudger(*long_context_pair, threshold=0.2, max_tokens=24)


@pytest.fixture
def serve(tiny_pair_nudger: Nudger) -> Iterator[Serve]:
    """Return a function that starts a server, by default of the tiny pair, and returns its URL."""
    with ExitStack() as running:

        def start(nudger: Nudger | None = None, **options: Any) -> str:
            return running.enter_context(serving(nudger or tiny_pair_nudger, **options))

        yield start


def client(url: str, key: str = "none") -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


class SlowScript:
    """A script of a `ScriptedModel` that sleeps before every word, so that a test can look at a running server.

    Args:
        seconds: The time for one word.
    """

    def __init__(self, seconds: float = 0.02) -> None:
        self.seconds, self.calls = seconds, 0

    def __call__(self, prompt: str, text: str) -> Sequence[Step]:
        self.calls += 1
        time.sleep(self.seconds)
        return [Step(f" word{text.count(' ')}", 0.1)]


def slow_nudger(script: SlowScript, max_tokens: int = 400) -> Nudger:
    return Nudger(ScriptedModel(script), ScriptedModel(script), max_tokens=max_tokens)


# answers


def test_a_chat_completion_equals_the_engines_answer(serve: Serve, tiny_pair_nudger: Nudger) -> None:
    expected = tiny_pair_nudger.generate(MESSAGES)
    found = client(serve()).chat.completions.create(model="nudged", messages=MESSAGES)
    assert found.choices[0].message.content == expected.text
    assert found.choices[0].finish_reason == ("length" if expected.finish_reason == "length" else "stop")
    assert found.usage is not None
    assert found.usage.prompt_tokens == expected.usage.prompt_tokens
    assert found.usage.completion_tokens == expected.usage.completion_tokens
    assert found.usage.total_tokens == expected.usage.total_tokens


def test_a_chat_stream_adds_up_to_the_answer_and_names_the_authors(serve: Serve, tiny_pair_nudger: Nudger) -> None:
    expected = tiny_pair_nudger.generate(MESSAGES)
    stream = client(serve()).chat.completions.create(
        model="nudged", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == expected.text
    assert chunks[-2].choices[0].finish_reason in ("stop", "length")
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == expected.usage.completion_tokens
    authored = [getattr(chunk.choices[0], "nudging", None) for chunk in chunks if chunk.choices]
    assert [(one["text"], one["author"]) for one in authored if one] == [
        (piece.text, piece.author) for piece in expected.pieces
    ]


def test_completions_accept_one_prompt_or_several(serve: Serve, tiny_pair_nudger: Nudger) -> None:
    ask = client(serve()).completions.create
    expected = [tiny_pair_nudger.generate(prompt).text for prompt in (QUESTION, "who?")]
    assert ask(model="nudged", prompt=QUESTION).choices[0].text == expected[0]
    assert [choice.text for choice in ask(model="nudged", prompt=[QUESTION, "who?"]).choices] == expected
    streamed = ask(model="nudged", prompt=QUESTION, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == expected[0]


def test_settings_of_a_request_are_used(serve: Serve, tiny_pair_nudger: Nudger) -> None:
    ask = client(serve()).chat.completions.create
    sampling: Any = {"temperature": 0.9, "seed": 7, "top_p": 0.8}
    found = ask(model="nudged", messages=MESSAGES, max_tokens=9, extra_body={"threshold": 0.05}, **sampling)
    expected = tiny_pair_nudger.generate(MESSAGES, max_tokens=9, threshold=0.05, **sampling)
    assert found.choices[0].message.content == expected.text
    cut = ask(model="nudged", messages=MESSAGES, max_completion_tokens=3)
    assert cut.choices[0].finish_reason == "length"
    whole = tiny_pair_nudger.generate(MESSAGES).text
    stop = whole[len(whole) // 2 :][:2]
    stopped = ask(model="nudged", messages=MESSAGES, stop=[stop])
    assert stopped.choices[0].message.content == whole[: whole.index(stop)]
    assert stopped.choices[0].finish_reason == "stop"


def test_log_probabilities_cover_the_answers_tokens(serve: Serve) -> None:
    api = client(serve(slow_nudger(SlowScript(0))))
    choice = api.chat.completions.create(model="nudged", messages=MESSAGES, logprobs=True, max_tokens=3).choices[0]
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert "".join(one.token for one in choice.logprobs.content) == choice.message.content
    assert all(one.logprob <= 0 for one in choice.logprobs.content)
    text = api.completions.create(model="nudged", prompt=QUESTION, logprobs=1, max_tokens=3).choices[0]
    assert text.logprobs is not None
    assert "".join(text.logprobs.tokens or []) == text.text


def test_a_required_tool_is_called_with_and_without_streaming(serve: Serve) -> None:
    ask = client(serve()).chat.completions.create
    request: Any = {
        "model": "nudged",
        "messages": MESSAGES,
        "tools": TOOLS,
        "tool_choice": "required",
        "max_tokens": 60,
    }
    choice = ask(**request).choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert call.function.name == "look"
    Colour.model_validate_json(call.function.arguments)
    arguments, names = "", []
    for chunk in ask(**request, stream=True):
        for part in chunk.choices[0].delta.tool_calls or []:
            arguments += part.function.arguments or ""
            names += [part.function.name] if part.function.name else []
    assert names == ["look"]
    assert json.loads(arguments) == json.loads(call.function.arguments)


def test_an_answer_follows_the_response_format(serve: Serve) -> None:
    found = client(serve()).chat.completions.create(
        model="nudged",
        messages=MESSAGES,
        max_tokens=60,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "colour", "schema": Colour.model_json_schema()},
        },
    )
    Colour.model_validate_json(found.choices[0].message.content or "")


# other clients


def test_langchain_openai_streams_and_calls_tools(serve: Serve, tiny_pair_nudger: Nudger) -> None:
    chat = ChatOpenAI(model="nudged", base_url=f"{serve()}/v1", api_key="none", temperature=0, max_retries=0)
    question = [("system", "the sun is far away"), ("human", QUESTION)]
    expected = tiny_pair_nudger.generate(MESSAGES).text
    assert chat.invoke(question).content == expected
    assert "".join(str(chunk.content) for chunk in chat.stream(question)) == expected
    calling = chat.bind_tools([Colour], tool_choice="any").bind(max_tokens=60)
    assert calling.invoke(question).tool_calls[0]["name"] == "Colour"


async def test_llamaindex_openai_like_chats_and_streams(serve: Serve, tiny_pair_nudger: Nudger) -> None:
    llm = OpenAILike(model="nudged", api_base=f"{serve()}/v1", api_key="none", is_chat_model=True, temperature=0)
    messages = [ChatMessage(role=one["role"], content=one["content"]) for one in MESSAGES]
    expected = tiny_pair_nudger.generate(MESSAGES).text
    assert llm.chat(messages).message.content == expected
    assert [part.message.content for part in llm.stream_chat(messages)][-1] == expected
    assert (await llm.achat(messages)).message.content == expected


async def test_concurrent_requests_get_their_own_answers(serve: Serve, tiny_pair_nudger: Nudger) -> None:
    questions = [QUESTION, "are whales far away?", "who?"]
    expected = [tiny_pair_nudger.generate(question).text for question in questions]
    async with AsyncOpenAI(base_url=f"{serve()}/v1", api_key="none") as api:
        found = await asyncio.gather(
            *(
                api.chat.completions.create(model="nudged", messages=[{"role": "user", "content": question}])
                for question in questions * 8
            )
        )
    assert [one.choices[0].message.content for one in found] == expected * 8


# invalid requests and limits


INVALID: list[tuple[dict[str, Any], str]] = [
    ({}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "robot", "content": "hi"}]}, "robot"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "content"),
    ({"messages": MESSAGES, "n": 0}, "n: "),
    ({"messages": MESSAGES, "frequency_penalty": 1.0}, "frequency_penalty"),
    ({"messages": MESSAGES, "temperature": -1}, "temperature"),
    ({"messages": MESSAGES, "temperature": 10**400}, "temperature"),
    ({"messages": MESSAGES, "max_tokens": 0}, "max_tokens"),
    ({"messages": MESSAGES, "max_tokens": "many"}, "max_tokens"),
    ({"messages": MESSAGES, "stream": "yes"}, "stream"),
    ({"messages": MESSAGES, "tool_choice": "required"}, "tool"),
    ({"messages": MESSAGES, "response_format": {"type": "yaml"}}, "response_format"),
    ({"messages": [{"role": "user", "content": "the sky " * 9000}]}, "context"),
    ({"messages": [{"role": "user", "content": "\ud800"}]}, "surrogate"),
]


@pytest.mark.parametrize(("body", "named"), INVALID, ids=[named for _, named in INVALID])
@pytest.mark.parametrize("stream", [False, True])
def test_an_invalid_request_gets_openais_error(serve: Serve, body: dict[str, Any], named: str, stream: bool) -> None:
    request = {"stream": True, **body} if stream else body
    answer = httpx.post(f"{serve()}/v1/chat/completions", content=json.dumps(request), headers=JSON, timeout=20)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert named.lower() in error["message"].lower()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"messages": "\xff"}', b"{}" * 10])
def test_a_malformed_body_gets_an_error(serve: Serve, body: bytes) -> None:
    answer = httpx.post(f"{serve()}/v1/chat/completions", content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_unknown_models_and_paths_are_not_found(serve: Serve) -> None:
    url = serve()
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-9'"):
        client(url).chat.completions.create(model="gpt-9", messages=MESSAGES)
    assert httpx.get(f"{url}/v1/nothing").json()["error"]["type"] == "invalid_request_error"
    assert httpx.get(f"{url}/v1/chat/completions").status_code == 405
    assert client(url).models.list().data[0].id == "nudged"
    assert client(url).models.retrieve("nudged").id == "nudged"


def test_only_the_right_api_key_is_accepted(serve: Serve) -> None:
    url = serve(api_key=API_KEY)
    assert client(url, API_KEY).chat.completions.create(model="nudged", messages=MESSAGES).choices
    for wrong in ("none", API_KEY[:-1], API_KEY + "x", "ключ".encode().decode("latin-1")):
        headers = {"authorization": f"Bearer {wrong}".encode("latin-1")}
        answer = httpx.get(f"{url}/v1/models", headers=headers)
        assert answer.status_code == 401
        assert API_KEY not in answer.text
    assert httpx.get(f"{url}/v1/models").status_code == 401
    assert httpx.get(f"{url}/health").json() == {"status": "ok"}
    assert httpx.get(f"{url}/metrics").status_code == 200


def test_a_body_over_the_limit_is_refused_with_and_without_content_length(serve: Serve) -> None:
    url = serve(limits=Limits(body=1000))

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 1000

    large = httpx.post(f"{url}/v1/chat/completions", content=b"x" * 10_000_000)
    assert large.status_code == 413
    assert httpx.post(f"{url}/v1/chat/completions", content=endless()).status_code == 413


def test_a_prompt_over_the_limit_is_refused(serve: Serve) -> None:
    api = client(serve(limits=Limits(prompt_tokens=20)))
    with pytest.raises(openai.BadRequestError, match="limit of 20") as raised:
        api.chat.completions.create(model="nudged", messages=MESSAGES)
    assert raised.value.code == "context_length_exceeded"


def test_requests_over_the_queue_get_429_and_the_others_are_answered(serve: Serve) -> None:
    url = serve(slow_nudger(SlowScript(0.01), max_tokens=10), limits=Limits(at_once=2, queue=3))

    def ask(_: int) -> int:
        return httpx.post(f"{url}/v1/chat/completions", json={"messages": MESSAGES}, timeout=30).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(ask, range(20)))
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 5


# clients that disconnect or stall


@pytest.mark.parametrize("stream", [False, True])
def test_a_disconnected_client_stops_the_decoding_and_frees_its_slot(serve: Serve, stream: bool) -> None:
    script = SlowScript(0.02)
    url = serve(slow_nudger(script, max_tokens=10_000), limits=Limits(at_once=1, queue=0))
    if stream:
        with httpx.stream("POST", f"{url}/v1/chat/completions", json={"messages": MESSAGES, "stream": True}) as reply:
            next(reply.iter_lines())
    else:
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{url}/v1/chat/completions", json={"messages": MESSAGES}, timeout=0.5)
    assert wait_until(lambda: "nudging_running 0.0" in httpx.get(f"{url}/metrics").text)
    calls = script.calls
    time.sleep(0.3)
    assert script.calls <= calls + 1


def test_an_incomplete_request_times_out(serve: Serve) -> None:
    url = serve(limits=Limits(client_timeout=0.3))
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        slow.settimeout(5)
        assert b"408" in slow.recv(4096)


async def test_a_client_that_does_not_read_occupies_no_slot() -> None:
    nudger = slow_nudger(SlowScript(0), max_tokens=50)
    app = create_app(nudger, limits=Limits(at_once=1, queue=0))
    reading, sent = asyncio.Event(), list[Any]()

    async def send(message: Any) -> None:
        await reading.wait()
        sent.append(message)

    unread = asyncio.create_task(post_directly(app, {"messages": MESSAGES, "stream": True}, send))
    statuses = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as other_client:
        while 200 not in statuses and len(statuses) < 100:
            await asyncio.sleep(0.05)
            statuses.append((await other_client.post("/v1/chat/completions", json={"messages": MESSAGES})).status_code)
    assert statuses[-1] == 200
    assert not sent
    reading.set()
    await asyncio.wait_for(unread, 10)
    events = [json.loads(one["body"][6:]) for one in sent[1:-1]]
    assert "".join(event["choices"][0]["delta"].get("content") or "" for event in events) == nudger.generate("x").text


@pytest.mark.standard
@pytest.mark.timeout(180)
def test_five_hundred_requests_do_not_leak_memory(serve: Serve) -> None:
    url = serve(limits=Limits(body=10_000))
    page = resource.getpagesize()

    def ask(number: int) -> None:
        messages = [{"role": "user", "content": f"{number} why is the sky {'far ' * (number % 20)}away?"}]
        body: Any = {"messages": messages, "max_tokens": 3, "seed": number}
        match number % 5:
            case 0:
                body["messages"] = [{"role": "user", "content": "x" * 20_000}]
            case 1:
                body["temperature"] = -1
            case 2:
                with http.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as abandoned:
                    next(abandoned.iter_lines())
                return
        http.post("/v1/chat/completions", json=body)

    def memory_after(numbers: range) -> int:
        with ThreadPoolExecutor(8) as pool:
            for _ in pool.map(ask, numbers):
                pass
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * page

    with httpx.Client(base_url=url, timeout=60) as http:
        before = memory_after(range(500))  # until caches for kernels and texts of all sizes are filled
        assert memory_after(range(500, 1000)) - before < 16 << 20


def test_an_error_in_the_middle_of_a_stream_is_sent_in_the_stream(serve: Serve) -> None:
    class FailingScript(SlowScript):
        def __call__(self, prompt: str, text: str) -> Sequence[Step]:
            if text.count(" ") > 3:
                raise ServerError("the base server at http://x/v1: gone")
            return super().__call__(prompt, text)

    url = serve(slow_nudger(FailingScript(0)))
    with pytest.raises(openai.APIError, match="gone"):
        list(client(url).chat.completions.create(model="nudged", messages=MESSAGES, stream=True))
    with pytest.raises(openai.InternalServerError, match="gone") as raised:
        client(url).chat.completions.create(model="nudged", messages=MESSAGES)
    assert raised.value.status_code == 502


def test_metrics_count_answers_tokens_and_responses(serve: Serve) -> None:
    url = serve()
    found = client(url).chat.completions.create(model="nudged", messages=MESSAGES)
    httpx.post(f"{url}/v1/chat/completions", json={})
    text = httpx.get(f"{url}/metrics").text
    assert found.usage is not None
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    tokens = sum(float(lines[f'nudging_tokens_total{{author="{author}"}}']) for author in ("base", "nudging"))
    assert tokens == found.usage.completion_tokens
    assert lines['nudging_responses_total{path="/v1/chat/completions",status="200"}'] == "1.0"
    assert lines['nudging_responses_total{path="/v1/chat/completions",status="400"}'] == "1.0"
    assert lines["nudging_running"] == "0.0"


def test_a_shutdown_lets_running_answers_finish() -> None:
    answers: list[str] = []
    with serving(slow_nudger(SlowScript(0.02), max_tokens=30)) as url:

        def ask() -> None:
            found = client(url).chat.completions.create(model="nudged", messages=MESSAGES)
            answers.append(found.choices[0].finish_reason)

        asker = threading.Thread(target=ask)
        asker.start()
        assert wait_until(lambda: "nudging_running 1.0" in httpx.get(f"{url}/metrics").text)
    asker.join(10)
    assert answers == ["length"]
