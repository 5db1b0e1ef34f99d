"""Odd hosts: each works, or one clear error says at the first contact what is wrong. No error has a key in it."""

import gzip
import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from nudging import (
    ChatTemplateError,
    ModelNotFoundError,
    Nudger,
    NudgingError,
    ServerError,
    Step,
    UnsupportedModelError,
)
from nudging.models.local.model import LocalModel
from nudging.models.remote.completion import CutOffError
from nudging.models.remote.model import RemoteModel
from nudging.models.remote.servers.ollama import MOST_REPEATS, OllamaServer
from odd_servers import HARMLESS, ODDITIES, TGI, Exchange, Host, OddServer, Ollama, SGLang, event, odd_server, running
from pydantic import SecretStr
from tiny_gguf import llama_gguf

pytestmark = [pytest.mark.enable_socket, pytest.mark.usefixtures("short_waits")]

PROMPT = "why is the sky blue?"
KEY = "sk-very-secret"
RETRIES = 2


def model_on(server: OddServer, folder: Path, name: str | None = None, url: str | None = None) -> RemoteModel:
    return RemoteModel(
        name or server.name,
        url or server.url,
        api_key=SecretStr(KEY),
        tokenizer=str(folder),
        context_window=256,
        max_retries=RETRIES,
    )


def answer(model: RemoteModel, limit: int = 8) -> list[Step]:
    """Return the first steps of a model: what happens at the first contact."""
    return list(model.session(PROMPT, author="base").steps("", limit))


def completions(server: OddServer) -> int:
    """Return the number of requests for completions that a server got."""
    return sum(path.endswith(("/completions", "/generate_stream", "/api/generate")) for path, _ in server.requests)


# the oddities of `Host`


@pytest.mark.parametrize("oddity", HARMLESS)
def test_an_odd_host_that_has_all_that_is_needed_works(oddity: str, tiny_base: Path, tiny_nudging: Path) -> None:
    with (
        odd_server(Host, tiny_base, oddity=oddity) as base,
        odd_server(Host, tiny_nudging, oddity=oddity) as nudging,
    ):
        nudger = Nudger(
            base.name,
            nudging.name,
            base_url=base.url,
            nudging_url=nudging.url,
            base_tokenizer=str(tiny_base),
            nudging_tokenizer=str(tiny_nudging),
            threshold=0.2,
            max_tokens=12,
        )
        local = Nudger(LocalModel(tiny_base), LocalModel(tiny_nudging), threshold=0.2, max_tokens=12)
        assert nudger.generate(PROMPT).pieces == local.generate(PROMPT).pieces
        assert json.loads(nudger.generate(PROMPT, schema={"enum": ["yes", "no"]}).text) in ("yes", "no")


ERRORS = {
    "models are a web page": (UnsupportedModelError, "up to and with /v1", 0),
    "models have other names": (ModelNotFoundError, "no model 'tiny': it serves 'another'", 0),
    "models are null": (ModelNotFoundError, "no model 'tiny': it serves none", 0),
    "token_logprobs are null": (UnsupportedModelError, "sends no log-probabilities", 1),
    "lists have unequal lengths": (UnsupportedModelError, "different lengths", 1),
    "logprobs are null": (UnsupportedModelError, "sends no log-probabilities", 1),
    "logprobs are missing": (UnsupportedModelError, "sends no log-probabilities", 1),
    "choices are empty": (UnsupportedModelError, "no choices", 1),
    "chunks are numbers": (UnsupportedModelError, "an object is expected", 1),
    "completions are a web page": (UnsupportedModelError, "web page.*URL", 1),
    "completions are an error in the stream": (ServerError, "the model is gone.*It was tried 3 times", 3),
    "completions are an error with status 200": (ServerError, "no capacity.*It was tried 3 times", 3),
}
"""The error of each oddity that nothing can be done about, and the number of requests for completions until then."""


@pytest.mark.parametrize("oddity", [oddity for oddity in ODDITIES if oddity not in HARMLESS])
def test_an_odd_host_that_lacks_something_is_refused_at_the_first_contact(oddity: str, tiny_nudging: Path) -> None:
    with odd_server(Host, tiny_nudging, oddity=oddity) as server:
        model = model_on(server, tiny_nudging)
        if oddity not in ERRORS:
            assert oddity == "completions are whole although streamed"
            expected = LocalModel(tiny_nudging).session(PROMPT, author="base").steps("", 8)
            assert [step.text for step in answer(model)] == [step.text for step in expected]
            return
        kind, message, requests = ERRORS[oddity]
        with pytest.raises(kind, match=f"(?s){message}") as raised:
            answer(model)
        assert server.url in str(raised.value)
        assert completions(server) == requests


# replies of other shapes


def chunk(token: str, reason: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a chunk of one token."""
    tokens = {"tokens": [token], "token_logprobs": [-0.5], "top_logprobs": [{token: -0.5}]}
    return {"choices": [{"text": token, "logprobs": tokens, "finish_reason": reason, "index": 0, **more}]}


USUAL = [chunk(" a"), chunk(" b"), chunk("", "stop")]
CARD = {"id": "tiny", "object": "model", "owned_by": "a host"}


@dataclass
class Scripted(OddServer):
    """A server that answers with what a test gives.

    Args:
        models: The status, the answer and the content type of `/v1/models`.
        reply: Answers a request for a completion.
        get_root: The text at `/`.
    """

    decoder: Any = None
    models: tuple[int, Any, str] = (200, {"object": "list", "data": [CARD]}, "application/json")
    reply: Callable[[Exchange], None] = lambda exchange: exchange.stream(event(one) for one in USUAL)

    def get(self, exchange: Exchange, path: str) -> None:
        exchange.send(*(self.models if path == "/v1/models" else (404, {"detail": "Not Found"}, "application/json")))

    def post(self, exchange: Exchange, path: str, body: Any) -> None:
        if path == "/v1/completions":
            self.reply(exchange)
        elif path == "/moved/v1/completions":
            exchange.stream(event(one) for one in USUAL)
        else:
            exchange.send(404, {"detail": "Not Found"})


def streamed(*events: Any, kind: str = "text/event-stream") -> Callable[[Exchange], None]:
    """Return a reply of these events: data, or text as it is."""
    return lambda exchange: exchange.stream((one if isinstance(one, str) else event(one) for one in events), kind)


def raw(payload: bytes, *headers: tuple[str, str], status: int = 200) -> Callable[[Exchange], None]:
    """Return a reply of these bytes."""

    def reply(exchange: Exchange) -> None:
        exchange.send_response(status)
        for name, value in (("content-type", "text/event-stream"), *headers, ("content-length", str(len(payload)))):
            exchange.send_header(name, value)
        exchange.end_headers()
        exchange.wfile.write(payload)

    return reply


SENT = "".join(event(one) for one in USUAL).encode()

HARMLESS_REPLIES = {
    "null": streamed("data: null\n\n", *USUAL),
    "comments and pings": streamed(": ping\n\n", "id: 7\n\n", *USUAL, ": ping\n\n", "data: [DONE]\n\n"),
    "a first chunk without choices": streamed({"choices": []}, *USUAL),
    "usage without choices": streamed(*USUAL, {"choices": None, "usage": {"total_tokens": 3}}),
    "an error that is null": streamed(*[{**one, "error": None} for one in USUAL]),
    "another word for the end": streamed(*USUAL[:2], chunk("", "eos")),
    "no space after data:": streamed(*[event(one, "data:") for one in USUAL]),
    "a wrong content type": streamed(*USUAL, kind="text/html"),
    "gzip": raw(gzip.compress(SENT), ("content-encoding", "gzip")),
    "a redirect": raw(b"", ("location", "/moved/v1/completions"), status=307),
    "text of the end token": streamed(*USUAL[:2], {"choices": [{**chunk("</s>", "stop")["choices"][0], "text": ""}]}),
}


@pytest.mark.parametrize("reply", HARMLESS_REPLIES.values(), ids=HARMLESS_REPLIES)
async def test_a_reply_with_more_or_less_around_it_is_read(reply: Any, tiny_nudging: Path) -> None:
    with running(Scripted(None, reply=reply)) as server:
        model = model_on(server, tiny_nudging)
        expected = [(" a", False), (" b", False), ("", True)]
        assert [(step.text, step.end) for step in answer(model)] == expected
        steps = model.session(PROMPT, author="base").asteps("", 8)
        assert [(step.text, step.end) async for step in steps] == expected


LIST = [1, 2]
REFUSED: dict[str, tuple[Callable[[Exchange], None], str]] = {
    "a chunk that is a list": (streamed(LIST), "an object is expected"),
    "a chunk that is a text": (streamed('data: "hello"\n\n'), "an object is expected"),
    "a chunk that is not JSON": (streamed("data: hello\n\n"), "other than JSON: 'hello'"),
    "bytes that are no text": (raw(b"data: \xff\xfe\n\n"), "not in the expected form|other than JSON"),
    "log-probabilities without text": (streamed(chunk(" a", text=None)), "have no text"),
    "chunks of a chat": (streamed({"choices": [{"delta": {"content": "a"}, "logprobs": None}]}), "have no text"),
    "an unknown end": (streamed(chunk(" a", "content_filter")), "finish_reason is 'content_filter'"),
    "NaN": (streamed(chunk(" a", logprobs={"tokens": [" a"], "token_logprobs": [math.nan]})), "NaN"),
    "a text as log-probability": (
        streamed(chunk(" a", logprobs={"tokens": [" a"], "token_logprobs": ["low"]})),
        "token_logprobs",
    ),
    "choices that are an object": (streamed({"choices": {"text": "a"}}), "choices"),
    "a validation error as a text": (
        streamed({"error": f"Input validation error: {KEY}", "error_type": "validation"}),
        "Input validation error.*not retried",
    ),
    "a flat error": (
        streamed({"object": "error", "message": f"boom {KEY}", "type": "BadRequestError", "code": 400}),
        "boom.*not retried",
    ),
    "a wrong key": (streamed({"error": {"message": f"no {KEY}", "code": 401}}), "base_api_key"),
    "a whole error": (
        lambda exchange: exchange.send(200, {"error": {"message": "bad", "type": "invalid_request_error"}}),
        "bad.*not retried",
    ),
    "a moved address": (raw(b"", ("location", "/moved"), status=301), "base_url"),
    "a method that is not allowed": (lambda exchange: exchange.send(405, {"detail": "no"}), "base_url"),
    "a full context": (
        lambda exchange: exchange.send(400, {"error": {"message": "maximum context length is 9 tokens"}}),
        "base_context_window",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_reply_that_cannot_be_used_is_refused_after_one_request(case: str, tiny_nudging: Path) -> None:
    reply, message = REFUSED[case]
    with running(Scripted(None, reply=reply)) as server:
        model = model_on(server, tiny_nudging)
        with pytest.raises(NudgingError, match=f"(?s){message}") as raised:
            answer(model)
        assert completions(server) == 1
        with pytest.raises(NudgingError, match=f"(?s){message}") as araised:
            [step async for step in model.session(PROMPT, author="base").asteps("", 8)]
        for error in (raised.value, araised.value):
            assert type(error) in (ServerError, UnsupportedModelError)
            assert server.url in str(error)
            assert KEY not in str(error)


MAY_PASS: dict[str, Callable[[Exchange], None]] = {
    "an empty stream": streamed(),
    "only the end of a stream": streamed("data: [DONE]\n\n"),
    "an error as a text": streamed({"error": f"overloaded {KEY}"}),
    "an error of the server": streamed({"error": {"message": "gone", "code": 500}}),
    "an aborted completion": streamed(chunk(" a"), chunk("", "abort")),
    "half a gzip": raw(gzip.compress(SENT)[:20], ("content-encoding", "gzip")),
    "not gzip": raw(SENT, ("content-encoding", "gzip")),
}


@pytest.mark.parametrize("case", MAY_PASS)
async def test_a_reply_that_may_be_better_next_time_is_retried(case: str, tiny_nudging: Path) -> None:
    server = Scripted(None, reply=MAY_PASS[case])
    with running(server):
        model = model_on(server, tiny_nudging)
        with pytest.raises(ServerError, match="It was tried 3 times") as raised:
            answer(model)
        assert KEY not in str(raised.value)
        assert 3 <= completions(server) <= 4
        replies = iter([MAY_PASS[case], MAY_PASS[case]])
        server.reply = lambda exchange: next(replies, streamed(*USUAL))(exchange)
        found = [step.text async for step in model.session(PROMPT, author="base").asteps("", 8)]
        assert found == [" a", " b", ""]


# the first contact


def listed(*cards: Any, **more: Any) -> tuple[int, Any, str]:
    return 200, {"object": "list", "data": list(cards), **more}, "application/json"


@pytest.mark.parametrize(
    ("name", "models"),
    [
        ("tiny", (200, [CARD], "application/json")),
        ("7", listed({**CARD, "id": 7})),
        ("org/tiny", listed({**CARD, "id": "org/tiny"})),
        ("tiny", listed({**CARD, "id": "x/tiny.gguf", "aliases": ["tiny"]}, {**CARD, "id": "other", "aliases": None})),
        ("tiny.gguf", listed({**CARD, "id": "/models/tiny.gguf"})),
        ("tiny.gguf", listed({**CARD, "id": "C:\\models\\tiny.gguf"})),
        ("tiny", listed({"id": "tiny"})),
        ("tiny", listed({**CARD, "owned_by": None, "max_model_len": None, "meta": None})),
    ],
)
def test_a_model_is_found_in_lists_of_all_shapes(name: str, models: Any, tiny_nudging: Path) -> None:
    with running(Scripted(None, models=models)) as server:
        assert len(answer(model_on(server, tiny_nudging, name))) == 3


def test_a_model_of_this_name_comes_before_others_that_are_also_called_so(tiny_nudging: Path) -> None:
    lists = listed({**CARD, "id": "tiny:latest", "context_length": 100}, {**CARD, "context_length": 200})
    with running(Scripted(None, models=lists)) as server:
        assert model_on(server, tiny_nudging).context_length == 200


@pytest.mark.parametrize("name", ["max_model_len", "context_length", "context_window", "max_context_length"])
def test_the_context_is_read_under_the_names_that_hosts_give_it(name: str, tiny_nudging: Path) -> None:
    with running(Scripted(None, models=listed({**CARD, name: 99}))) as server:
        assert model_on(server, tiny_nudging).context_length == 99


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        ((404, {"error": {"message": "Not Found"}}, "application/json"), "does not list its models"),
        ((405, "no", "text/plain"), "does not list its models"),
        (listed({**CARD, "id": "another"}, has_more=True), "lists only a part"),
    ],
)
def test_a_host_that_does_not_list_the_model_is_tried(
    models: Any, reason: str, tiny_nudging: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(Scripted(None, models=models)) as server, caplog.at_level(logging.INFO, "nudging"):
        assert len(answer(model_on(server, tiny_nudging))) == 3
        (message,) = [record.getMessage() for record in caplog.records if record.name == "nudging"]
        assert server.url in message
        assert reason in message
        assert "'tiny' is not checked" in message


@pytest.mark.parametrize("kind", [Ollama, TGI])
def test_a_server_without_a_list_of_models_is_recognized(
    kind: Any, tiny_nudging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = kind.get
    monkeypatch.setattr(
        kind,
        "get",
        lambda self, exchange, path: exchange.send(404, {}) if path == "/v1/models" else get(self, exchange, path),
    )
    with odd_server(kind, tiny_nudging) as server:
        model = model_on(server, tiny_nudging, "tiny")
        assert model.server.kind == kind.__name__
        assert model.context_length == 256
        assert answer(model)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ((200, {"error": {"message": "no", "code": 403}}, "application/json"), "base_api_key"),
        ((401, {"error": {"message": f"wrong key {KEY}"}}, "application/json"), "base_api_key"),
        ((200, {"object": "list"}, "application/json"), "not in the expected form"),
        ((200, "hello", "text/plain"), "not in the expected form"),
        ((200, {"data": ["tiny"]}, "application/json"), "not in the expected form"),
        ((200, {"data": [{"name": "tiny"}]}, "application/json"), "not in the expected form.*id"),
    ],
)
def test_a_list_of_models_that_is_none_is_refused_at_once(models: Any, message: str, tiny_nudging: Path) -> None:
    with running(Scripted(None, models=models)) as server:
        with pytest.raises(NudgingError, match=f"(?s){message}") as raised:
            model_on(server, tiny_nudging).load()
        assert len(server.visited) == 1
        assert KEY not in str(raised.value)
        assert "_Models" not in str(raised.value)


@pytest.mark.parametrize("path", ["", "/", "/v1/", "/v1/models", "/v1/completions", "/v1/chat/completions"])
def test_the_url_may_be_that_of_the_server_or_of_an_endpoint(path: str, tiny_nudging: Path) -> None:
    with running(Scripted(None)) as server:
        assert len(answer(model_on(server, tiny_nudging, url=server.root + path))) == 3


def test_a_host_without_a_tokenizer_is_refused_before_anything_is_decoded() -> None:
    with running(Scripted(None)) as server:
        names: Any = {"base_url": server.url, "nudging_url": server.url}
        for start in (Nudger.load, lambda nudger: nudger.generate(PROMPT)):
            with pytest.raises(NudgingError, match=r"nudging_tokenizer|base_tokenizer"):
                start(Nudger("tiny", "tiny", **names))
        assert not completions(server)


def test_a_context_window_ends_answers_where_the_host_does_not_say(tiny_nudging: Path) -> None:
    with odd_server(Host, tiny_nudging) as server:
        assert model_on(server, tiny_nudging).context_length == 256
        free = RemoteModel(server.name, server.url, tokenizer=str(tiny_nudging))
        assert free.context_length > 10**9


# single kinds


def test_ollama_without_a_tokenizer_says_so_before_it_loads_the_model(tiny_nudging: Path) -> None:
    with odd_server(Ollama, tiny_nudging) as server:
        urls: Any = {"base_url": server.url, "nudging_url": server.url}
        both = {"base_tokenizer": str(tiny_nudging), "nudging_tokenizer": str(tiny_nudging)}
        for missing in both:
            nudger = Nudger("tiny", "tiny", **urls, **{name: both[name] for name in both if name != missing})
            with pytest.raises(NudgingError, match=missing):
                nudger.load()
            with pytest.raises(NudgingError, match=missing):
                nudger.generate(PROMPT)
        with pytest.raises(ChatTemplateError, match=r"Ollama has no endpoint for chat templates.*nudging_tokenizer"):
            Nudger("tiny", "tiny", **urls).prompts(PROMPT)
        assert not [body for path, body in server.requests if path == "/api/generate" and body["prompt"]]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ollama's store with the models `tiny` and `someone/other:small`."""
    store = tmp_path / "store"
    file = llama_gguf(tmp_path / "tiny.gguf")
    digest = sha256(file.read_bytes()).hexdigest()
    (store / "blobs").mkdir(parents=True)
    file.rename(store / "blobs" / f"sha256-{digest}")
    layers = [{"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:0", "size": 1}]
    layers += [{"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": 1}]
    for name in ("library/tiny/latest", "someone/other/small"):
        manifest = store / "manifests" / "registry.ollama.ai" / name
        manifest.parent.mkdir(parents=True)
        manifest.write_text(json.dumps({"schemaVersion": 2, "config": {}, "layers": layers}))
    monkeypatch.setenv("OLLAMA_MODELS", str(store))
    return store


@pytest.mark.parametrize("name", ["tiny", "tiny:latest", "someone/other:small"])
def test_the_tokenizer_of_a_model_in_ollamas_store_is_found(
    name: str, store: Path, tiny_nudging: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full = name if ":" in name else f"{name}:latest"
    with odd_server(Ollama, tiny_nudging, name=full) as server, caplog.at_level(logging.INFO, "nudging"):
        served, local = RemoteModel(name, server.url), LocalModel(tiny_nudging)
        served.load()
        text = "the sky is blue, 🌍"
        assert served.tokenizer.encode(text, special_tokens=True) == local.tokenizer.encode(text, special_tokens=True)
        conversation = [{"role": "user", "content": PROMPT}]
        assert served.tokenizer.render(conversation) == local.tokenizer.render(conversation)
        assert [step.text for step in answer(served)]
        logged = [record.getMessage() for record in caplog.records if "Ollama's store" in record.getMessage()]
        assert len(logged) == 1
        assert str(store) in logged[0]


@pytest.mark.parametrize("damage", ["no file", "not JSON", "other JSON"])
def test_a_damaged_store_is_left_alone(damage: str, store: Path, tiny_nudging: Path) -> None:
    manifest = store / "manifests/registry.ollama.ai/library/tiny/latest"
    if damage == "no file":
        next((store / "blobs").iterdir()).unlink()
    else:
        manifest.write_text("hello" if damage == "not JSON" else "[]")
    with odd_server(Ollama, tiny_nudging) as server, pytest.raises(UnsupportedModelError, match="base_tokenizer"):
        RemoteModel("tiny", server.url).load()


def test_an_old_ollama_is_told_from_the_first_token(tiny_nudging: Path) -> None:
    with odd_server(Ollama, tiny_nudging, old=True) as server:
        with pytest.raises(UnsupportedModelError, match=r"0\.12\.11"):
            answer(model_on(server, tiny_nudging))
        assert completions(server) == 2  # the first one loads the model


def test_an_ollama_model_that_thinks_answers(tiny_nudging: Path) -> None:
    with odd_server(Ollama, tiny_nudging, thinks=True) as thinking, odd_server(Ollama, tiny_nudging) as other:
        assert answer(model_on(thinking, tiny_nudging)) == answer(model_on(other, tiny_nudging))


def line(text: str) -> dict[str, Any]:
    return {"response": text, "done": False, "logprobs": [{"token": text, "logprob": -0.1}]}


def test_ollama_ends_a_stream_after_many_equal_texts_and_this_is_no_failure() -> None:
    class Nothing:
        author, url, model = "base", "", "tiny"

        def limit(self, at_once: int) -> None:
            pass

    from nudging.models.remote.completion import Completion
    from nudging.models.remote.servers.server import Card

    client: Any = Nothing()
    parser = OllamaServer(client, Card(id="tiny")).request(Completion("a", "", 99, True)).parser()
    for _ in range(MOST_REPEATS):
        parser.push(line(" a"))
    with pytest.raises(CutOffError):
        parser.check_finished()
    assert [step.text for step in parser.push(line("a "))] == ["a "]
    parser.check_finished()
    parser.push(line(" b"))
    with pytest.raises(CutOffError):
        parser.check_finished()


@pytest.mark.parametrize(
    ("tokens", "text", "expected"),
    [
        (["a", "\ufffd", "\ufffd", "\ufffd", "b"], "a🌍b", ["a", "", "", "🌍", "b"]),
        (["a", "", "", "", "b"], "a🌍b", ["a", "", "", "🌍", "b"]),
        (["\ufffd", "b", "\ufffd", "\ufffd"], "éb€", ["é", "b", "", "€"]),
        (["b", "<end>"], "b", ["b", ""]),
        (["\u2581the", "\u2581sky"], " the sky", ["", " the sky"]),
        (["sky"], "🌍sky", ["🌍sky"]),
        ([], "a", ["a"]),
    ],
)
def test_the_tokens_of_one_chunk_bring_its_text(tokens: list[str], text: str, expected: list[str]) -> None:
    from nudging.models.remote.servers.listing import in_text

    assert in_text(tokens, text) == expected


@pytest.mark.parametrize("kind", [SGLang, TGI])
def test_an_error_of_the_stand_ins_is_shown_as_they_say_it(kind: Any, tiny_nudging: Path) -> None:
    with odd_server(kind, tiny_nudging) as server:
        model = model_on(server, tiny_nudging)
        assert answer(model)
        server.decoder.context = 5  # less than the server has told before
        with pytest.raises(ServerError, match=r"context length|max_new_tokens") as raised:
            answer(model)
        assert raised.value.status in (400, 422)
