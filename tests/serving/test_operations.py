"""Operating `nudging serve`: access log, metrics, API keys and their limits, CORS, HEAD, --check, signals."""

import hashlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from nudging import Nudger, ScriptedModel, ServerError, SettingsError, Step
from nudging.serving import ApiKey, Limits, create_app
from nudging.serving.access_log import RequestIdFilter
from nudging.serving.keys import read_keys
from nudging.serving.rate_limits import RateLimit
from openai import OpenAI
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr, ValidationError
from served import serving, wait_until

pytestmark = pytest.mark.enable_socket

QUESTION = "is this secret"
MESSAGES: Any = [{"role": "user", "content": QUESTION}]
CHAT = "/v1/chat/completions"
ORIGIN = "http://localhost:3000"
KEY = "sk-0123456789abcdef"

Serve = Callable[..., str]


def scripted(text: str = "yes it is", **options: Any) -> Nudger:
    return Nudger(ScriptedModel(text), ScriptedModel(text), **options)


def slow(seconds: float = 0.02, **options: Any) -> Nudger:
    """Return a nudger whose models sleep before every word."""

    def script(prompt: str, text: str) -> Sequence[Step]:
        time.sleep(seconds)
        return [Step(f" word{text.count(' ')}", 0.1)]

    return Nudger(ScriptedModel(script), ScriptedModel(script), **options)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that starts a server, by default of a scripted pair, and returns its URL."""
    with ExitStack() as running:

        def start(nudger: Nudger | None = None, **options: Any) -> str:
            return running.enter_context(serving(nudger or scripted(), **options))

        yield start


class Lines(logging.Handler):
    """The lines of the access log."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def wait(self, count: int) -> list[dict[str, Any]]:
        """Return the lines once there are so many: a line is written after the client has the response."""
        assert wait_until(lambda: len(self.texts) >= count)
        return [json.loads(text) for text in self.texts]


@pytest.fixture
def log() -> Iterator[Lines]:
    lines, logger = Lines(), logging.getLogger("nudging.access")
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(lines)
    logger.setLevel(logging.NOTSET)


def ask(url: str, key: str = "none", **fields: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{url}{CHAT}", json={"messages": MESSAGES, **fields}, headers=headers, timeout=30)


def samples(url: str) -> dict[tuple[str, ...], float]:
    """Return the metrics as Prometheus's own client reads them: (name, value of label, …) -> value."""
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


# the access log and the request id


def test_each_request_is_one_line_without_its_text(serve: Serve, log: Lines) -> None:
    url = serve(api_keys={"alice": ApiKey(key=KEY)})
    answer = httpx.post(
        f"{url}{CHAT}?api_key=hidden", json={"messages": MESSAGES}, headers={"authorization": f"Bearer {KEY}"}
    )
    httpx.get(f"{url}/health")
    chat, health = log.wait(2)
    usage = answer.json()["usage"]
    assert chat["status"] == 200
    assert (chat["method"], chat["path"], chat["ending"]) == ("POST", CHAT, "stop")
    assert (chat["key"], chat["client"]) == ("alice", "127.0.0.1")
    assert chat["prompt_tokens"] == usage["prompt_tokens"]
    assert chat["completion_tokens"] == usage["completion_tokens"] > 0
    assert chat["nudge_ratio"] == answer.json()["choices"][0]["nudging"]["nudge_ratio"]
    assert 0 < chat["first_text_seconds"] <= chat["seconds"] < 10
    assert chat["request_id"] == answer.headers["x-request-id"]
    assert re.match(r"20\d\d-\d\d-\d\dT", chat["time"])
    assert health.keys() == {"time", "request_id", "client", "method", "path", "status", "seconds"}
    for hidden in (QUESTION, "yes", "hidden", KEY):
        assert hidden not in "".join(log.texts)


def test_the_ending_tells_apart_a_full_an_unfinished_and_a_failed_answer(serve: Serve, log: Lines) -> None:
    def failing(prompt: str, text: str) -> Sequence[Step]:
        if text:
            raise ServerError("gone")
        return [Step(" word", 0.1)]

    ask(serve(scripted(max_tokens=1)))
    body = {"messages": MESSAGES, "stream": True}
    with httpx.stream("POST", f"{serve(slow(max_tokens=10_000))}{CHAT}", json=body) as reply:
        next(reply.iter_lines())
    log.wait(2)
    failed = serve(Nudger(ScriptedModel(failing), ScriptedModel(failing)))
    ask(failed, stream=True)
    ask(failed)
    ask(failed, temperature=-1)
    lines = log.wait(5)
    found = [(line["status"], line["ending"]) for line in lines]
    assert found == [(200, "length"), (200, "disconnected"), (200, "error"), (502, "error"), (400, "error")]


def test_a_client_that_leaves_before_the_response_has_no_status(serve: Serve, log: Lines) -> None:
    with pytest.raises(httpx.TimeoutException):
        httpx.post(f"{serve(slow(max_tokens=10_000))}{CHAT}", json={"messages": MESSAGES}, timeout=0.5)
    (line,) = log.wait(1)
    assert line["ending"] == "disconnected"
    assert "status" not in line


@pytest.mark.parametrize(
    ("path", "status", "options"),
    [
        ("/health", 200, {}),
        ("/v1/nothing", 404, {}),
        (CHAT, 405, {}),
        ("/v1/models", 401, {"api_key": KEY}),
        ("/page/nothing", 404, {}),
    ],
)
def test_a_plain_request_id_is_kept_and_any_other_is_replaced(
    serve: Serve, path: str, status: int, options: dict[str, Any]
) -> None:
    url = serve(**options)
    kept = httpx.get(f"{url}{path}", headers={"x-request-id": "trace-1:a.b_c"})
    assert (kept.status_code, kept.headers["x-request-id"]) == (status, "trace-1:a.b_c")
    made = {
        httpx.get(f"{url}{path}", headers={"x-request-id": bad}).headers["x-request-id"] for bad in ("a b", "x" * 65)
    }
    assert len(made) == 2
    assert all(re.fullmatch("req_[0-9a-f]{32}", one) for one in made)


def test_openais_client_shows_the_request_id(serve: Serve) -> None:
    api = OpenAI(base_url=f"{serve()}/v1", api_key="none", max_retries=0)
    assert str(api.chat.completions.create(model="nudged", messages=MESSAGES)._request_id).startswith("req_")
    with pytest.raises(openai.BadRequestError) as raised:
        api.chat.completions.create(model="nudged", messages=[])
    assert str(raised.value.request_id).startswith("req_")


def test_log_lines_of_the_engine_and_of_an_unexpected_error_have_the_request_id(serve: Serve) -> None:
    ids: list[tuple[str, str]] = []

    class Captured(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            ids.append((record.name, record.request_id))  # type: ignore[attr-defined]

    def script(prompt: str, text: str) -> Sequence[Step]:
        logging.getLogger("nudging").warning("a fallback")
        raise RuntimeError("a bug")

    handler = Captured()
    handler.addFilter(RequestIdFilter())
    loggers = [logging.getLogger(name) for name in ("nudging", "uvicorn.error")]
    url = serve(Nudger(ScriptedModel(script), ScriptedModel(script)), cors_origins=[ORIGIN])
    for logger in loggers:
        logger.addHandler(handler)
    try:
        answer = httpx.post(
            f"{url}{CHAT}", json={"messages": MESSAGES}, headers={"x-request-id": "mine", "origin": ORIGIN}
        )
        assert wait_until(lambda: len(ids) >= 2)
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    assert {("nudging", "mine"), ("uvicorn.error", "mine")} == set(ids)
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert "a bug" not in answer.text
    assert answer.headers["access-control-allow-origin"] == ORIGIN


# metrics


def test_metrics_count_by_endpoint_and_ending_and_unknown_paths_add_no_labels(serve: Serve) -> None:
    url = serve(scripted(max_tokens=1), api_key=KEY)
    ask(url, KEY)
    ask(url, "wrong")
    ask(url, KEY, temperature=-1)
    httpx.post(f"{url}/v1/completions", json={"prompt": ["a", "b"]}, headers={"authorization": f"Bearer {KEY}"})
    for number in range(20):
        httpx.get(f"{url}/v1/{number}", headers={"authorization": f"Bearer {KEY}"})
        httpx.get(f"{url}/page/{number}")
        httpx.request(f"M{number}", f"{url}/health")
    found = samples(url)
    assert found["nudging_answers_total", CHAT, "length"] == 1
    assert found["nudging_answers_total", "/v1/completions", "length"] == 2
    assert found["nudging_responses_total", CHAT, "200"] == 1
    assert found["nudging_responses_total", CHAT, "401"] == 1
    assert found["nudging_responses_total", CHAT, "400"] == 1
    assert found["nudging_responses_total", "other", "404"] == 20
    assert found["nudging_responses_total", "/page", "404"] == 20
    assert found["nudging_response_seconds_count", CHAT] == 3
    assert found["nudging_answer_seconds_count", CHAT] == found["nudging_first_text_seconds_count", CHAT] == 1
    paths = {key[1] for key in found if key[0] == "nudging_responses_total"}
    assert paths == {CHAT, "/v1/completions", "/page", "/health", "other"}


def test_metrics_tell_apart_errors_disconnects_and_tool_calls(serve: Serve) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    call = '{"name": "look", "arguments": {}}'
    url = serve(scripted(f"<tool_call>\n{call}\n</tool_call>"))
    ask(url, tools=[tool])
    assert samples(url)["nudging_answers_total", CHAT, "tool_calls"] == 1
    url = serve(slow(max_tokens=10_000))
    with httpx.stream("POST", f"{url}{CHAT}", json={"messages": MESSAGES, "stream": True}) as reply:
        next(reply.iter_lines())
    assert wait_until(lambda: samples(url).get(("nudging_answers_total", CHAT, "disconnected")) == 1)


# API keys


def test_each_key_of_a_file_is_accepted_and_named(serve: Serve, log: Lines, tmp_path: Path) -> None:
    hashed = hashlib.sha256(b"sk-of-bob").hexdigest()
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"alice": {"key": KEY}, "bob": {"sha256": hashed}}))
    keys = read_keys(file)
    url = serve(api_keys=keys, api_key="sk-third")
    assert [ask(url, key).status_code for key in (KEY, "sk-of-bob", "sk-third", hashed, "x", KEY + "x")] == [
        *[200] * 3,
        *[401] * 3,
    ]
    assert [line.get("key") for line in log.wait(6)] == ["alice", "bob", "default", None, None, None]
    for text in (repr(keys), str(keys), httpx.get(f"{url}/metrics").text, *log.texts):
        assert KEY not in text
        assert hashed not in text


def test_a_key_has_a_maximum_of_requests_per_minute(serve: Serve) -> None:
    keys = {"small": ApiKey(key=KEY, requests_per_minute=2), "free": ApiKey(key="sk-free")}
    url = serve(api_keys=keys)
    first, second, third = (ask(url, KEY) for _ in range(3))
    assert (first.status_code, second.status_code, third.status_code) == (200, 200, 429)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert [one.headers["x-ratelimit-remaining-requests"] for one in (first, second, third)] == ["1", "0", "0"]
    assert re.fullmatch(r"1m0?s|[\d.]+s|1m", third.headers["x-ratelimit-reset-requests"])
    assert 25 <= int(third.headers["retry-after"]) <= 30
    error = third.json()["error"]
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert "'small'" in error["message"]
    assert KEY not in third.text
    assert ask(url, "sk-free").status_code == 200
    assert httpx.get(f"{url}/v1/models", headers={"authorization": f"Bearer {KEY}"}).status_code == 200
    api = OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
    with pytest.raises(openai.RateLimitError):
        api.chat.completions.create(model="nudged", messages=MESSAGES)


def test_the_tokens_of_prompts_and_answers_count_for_a_keys_maximum(serve: Serve) -> None:
    url = serve(api_keys={"small": ApiKey(key=KEY, tokens_per_minute=4)})
    first = ask(url, KEY)
    assert first.status_code == 200
    assert first.json()["usage"]["total_tokens"] > 4
    second = ask(url, KEY)
    assert (second.status_code, second.json()["error"]["type"]) == (429, "tokens")
    assert second.headers["x-ratelimit-remaining-tokens"] == "0"


def test_a_key_has_a_maximum_of_requests_at_once(serve: Serve) -> None:
    url = serve(slow(max_tokens=10_000), api_keys={"one": ApiKey(key=KEY, at_once=1), "other": ApiKey(key="sk-other")})
    body = {"messages": MESSAGES, "stream": True}
    with httpx.stream("POST", f"{url}{CHAT}", json=body, headers={"authorization": f"Bearer {KEY}"}) as reply:
        lines = reply.iter_lines()  # kept: its end would close the connection
        next(lines)
        refused = ask(url, KEY)
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert ask(url, "sk-other", max_tokens=1).status_code == 200
    assert wait_until(lambda: ask(url, KEY, max_tokens=1).status_code == 200)


def test_a_rate_limit_refills_continuously_up_to_its_maximum() -> None:
    clock = [0.0]
    limit = RateLimit(60, lambda: clock[0])
    limit.take(90)
    assert limit.left == -30
    assert limit.seconds_until(1) == 31
    clock[0] = 31
    assert limit.seconds_until(1) == 0
    clock[0] = 1000
    assert limit.left == 60


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ("{}", "no key"),
        ('{"a": {"key": "SECRET", "at_once": 0}}', "a.at_once"),
        ('{"a": {"key": "SECRET", "rpm": 3}}', "a.rpm"),
        ('{"a": {}}', "either key or sha256"),
        ('{"a": {"key": "SECRET é"}}', "ASCII"),
        ('{"a": {"key": ["SECRET"]}}', "a.key"),
        ('{"a": {"sha256": "SECRET"}}', "a.sha256"),
        ('{"a b": {"key": "SECRET"}}', "a b"),
    ],
)
def test_an_invalid_key_file_is_explained_without_its_keys(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as raised:
        read_keys(file)
    assert said in str(raised.value)
    assert "SECRET" not in str(raised.value)


def test_an_invalid_key_in_python_is_not_in_the_error() -> None:
    with pytest.raises(ValidationError) as raised:
        ApiKey(key=SecretStr("SECRET é"))
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize(
    "options",
    [
        {"api_keys": {"a": ApiKey(key=KEY), "b": ApiKey(key=KEY)}},
        {"api_keys": {"default": ApiKey(key="x")}, "api_key": KEY},
        {"api_key": "ключ"},
        {"cors_origins": ["localhost:3000"]},
    ],
)
def test_an_application_with_an_invalid_key_or_origin_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as raised:
        create_app(scripted(), **options)
    assert KEY not in str(raised.value)


# CORS and HEAD


def test_a_page_of_an_allowed_origin_can_ask_and_others_cannot(serve: Serve) -> None:
    url = serve(api_key=KEY, cors_origins=[ORIGIN])
    wanted = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    preflight = httpx.options(f"{url}{CHAT}", headers={"origin": ORIGIN, **wanted})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    assert httpx.options(f"{url}{CHAT}", headers={"origin": "http://evil", **wanted}).status_code == 400
    for key, status in ((KEY, 200), ("wrong", 401)):
        headers = {"origin": ORIGIN, "authorization": f"Bearer {key}"}
        answer = httpx.post(f"{url}{CHAT}", json={"messages": MESSAGES}, headers=headers)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, ORIGIN)
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        headers["origin"] = "http://evil"
        assert "access-control-allow-origin" not in httpx.get(f"{url}/v1/models", headers=headers).headers


def test_without_origins_there_are_no_cors_headers(serve: Serve) -> None:
    answer = httpx.get(f"{serve()}/health", headers={"origin": ORIGIN})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path", ["/", "/health", "/metrics", "/v1/models", "/v1/models/nudged", "/v1/models/x", CHAT, "/x"]
)
def test_head_answers_as_get_without_a_body(serve: Serve, path: str) -> None:
    url = serve()
    get, head = httpx.get(f"{url}{path}"), httpx.head(f"{url}{path}")
    assert head.status_code == get.status_code
    assert head.headers["content-type"] == get.headers["content-type"]
    assert not head.content
    if path != "/metrics":  # changes with each request
        assert head.headers["content-length"] == get.headers["content-length"]


async def test_head_has_no_body_on_any_asgi_server_and_adds_no_operation() -> None:
    app, sent = create_app(scripted()), list[Any]()

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "method": "HEAD", "path": "/health", "query_string": b"", "headers": []}, receive, send)
    assert sent[0]["status"] == 200
    assert not any(message["body"] for message in sent[1:])
    operations = [one["operationId"] for path in app.openapi()["paths"].values() for one in path.values()]
    assert len(operations) == len(set(operations))
    assert not any("head" in path for path in app.openapi()["paths"].values())


# the command


def command(*arguments: str, script: str = "", **environment: str) -> "subprocess.Popen[str]":
    """Start `nudging serve` with these arguments, after a script in the same process."""
    code = f"import sys\n{script}\nfrom nudging.cli import app\napp(['serve', *sys.argv[1:]])"
    variables = {**os.environ, "COLUMNS": "500", **environment}
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
    )


def finished(*arguments: str, **environment: str) -> tuple[int, str]:
    """Return the exit code and the output of `nudging serve` with these arguments."""
    process = command(*arguments, **environment)
    output = "".join(process.communicate(timeout=100))
    return process.returncode, output


def test_check_names_every_problem_and_what_to_do(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text('{"a": {"key": "SECRET", "rpm": 3}}')
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        options = ("--workers", "3", "--cors-origin", "http://x/", "--queue", "0", "--port", port)
        models = (
            "--base-model",
            "no/such.gguf",
            "--nudging-model",
            "b",
            "--nudging-url",
            "http://127.0.0.1:9/v1?k=SECRET",
        )
        code, output = finished("--check", *options, *models, "--api-keys", str(keys))
    assert code == 1
    for said in (
        "--workers 3",
        "a.rpm",
        "'http://x/'",
        f"127.0.0.1:{port}",
        "--queue 0",
        "no/such.gguf",
        "127.0.0.1:9",
    ):
        assert any(said in line for line in output.splitlines() if line.startswith(("fail", "note"))), said
    assert "SECRET" not in output


@pytest.mark.standard
def test_check_accepts_a_configuration_with_notes(tmp_path: Path, tiny_base: Path, tiny_nudging: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text('{"a": {"key": "SECRET", "at_once": 1000}}')
    keys.chmod(0o644)
    models = ("--base-model", str(tiny_base), "--nudging-model", str(tiny_nudging), "--port", "0")
    code, output = finished("--check", *models, "--api-keys", str(keys), "--max-prompt-tokens", "1000000")
    assert code == 0, output
    lines = [line for line in output.splitlines() if line.startswith(("fail", "note"))]
    for said in ("at_once 1000", "chmod 600", "--max-prompt-tokens 1000000 has no effect", "--max-body"):
        assert any(said in line for line in lines), said
    code, output = finished("--check", *models, "--host", "0.0.0.0", NUDGING_API_KEY="")  # noqa: S104
    assert (code, "everyone who reaches --host 0.0.0.0" in output) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--workers", "2"), "start several servers behind a load balancer"),
        (("--host", "203.0.113.1"), "'203.0.113.1': this machine has no such address"),
        (("--host", "no host"), "'no host' is not an address"),
        (("--api-keys", "no/file.json"), "cannot read the key file"),
    ],
)
def test_the_server_does_not_start_with_a_wrong_option(arguments: tuple[str, ...], said: str) -> None:
    code, output = finished(*arguments)
    assert code == 2
    assert [said in line for line in output.splitlines() if line.startswith("fail")] == [True]


def test_the_server_does_not_start_on_a_port_in_use_or_without_a_model(tiny_base: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, output = finished("--port", str(taken.getsockname()[1]))
    assert code == 2
    assert "address already in use" in output
    assert "Traceback" not in output
    code, output = finished("--base-model", str(tiny_base), "--nudging-model", "no/folder.gguf", "--port", "0")
    assert code == 1
    assert "no/folder.gguf" in output


SLOW = """
import time
from nudging import Nudger, ScriptedModel, Step
from nudging.cli import serve
def script(prompt, text):
    time.sleep(0.05)
    return [Step(f" word{text.count(' ')}", 0.1)]
serve._model_problems = lambda *_: []
model = ScriptedModel(script)
serve.make_nudger = lambda options: Nudger(model, model, max_tokens=options["max_tokens"])
"""


@pytest.fixture
def slow_command() -> Iterator[Callable[..., tuple["subprocess.Popen[str]", str]]]:
    """Return a function that starts `nudging serve` with slow scripted models, and returns its process and URL."""
    processes = []

    def start(*arguments: str) -> tuple["subprocess.Popen[str]", str]:
        process = command("--port", "0", *arguments, script=SLOW)
        processes.append(process)
        assert process.stderr
        line = next(line for line in process.stderr if line.startswith("serving"))
        url = line.split()[-1]
        assert wait_until(lambda: is_up(url))
        return process, url

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


def running_answers(url: str, count: int) -> list[threading.Thread]:
    """Ask questions in threads, and return them once they are being answered. Their answers are in `found`."""

    def one(thread: list[Any]) -> None:
        try:
            thread.append(ask(url).json()["choices"][0]["finish_reason"])
        except httpx.TransportError as error:
            thread.append(error)

    threads = []
    for _ in range(count):
        found: list[Any] = []
        asker = threading.Thread(target=one, args=(found,))
        asker.found = found  # type: ignore[attr-defined]
        asker.start()
        threads.append(asker)
    assert wait_until(lambda: f"nudging_running {count}.0" in httpx.get(f"{url}/metrics").text)
    return threads


def test_localhost_is_each_of_its_addresses(slow_command: Callable[..., Any]) -> None:
    _, url = slow_command("--host", "localhost")
    port = url.rpartition(":")[2]
    addresses = {address[0] for *_, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}
    assert all(is_up(f"http://[{one}]:{port}" if ":" in str(one) else f"http://{one}:{port}") for one in addresses)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_answers_finish_and_refuses_new_requests(
    slow_command: Callable[..., Any], sent: signal.Signals
) -> None:
    process, url = slow_command("--max-tokens", "40")
    askers = running_answers(url, 3)
    process.send_signal(sent)
    assert wait_until(lambda: not is_up(url))
    with pytest.raises(httpx.ConnectError):
        ask(url)
    for asker in askers:
        asker.join(20)
        assert asker.found == ["length"]  # type: ignore[attr-defined]
    assert process.wait(10) == (-signal.SIGTERM if sent == signal.SIGTERM else 0)
    lines = [json.loads(line) for line in process.stdout or ()]
    assert [line["ending"] for line in lines if line["path"] == CHAT] == ["length"] * 3
    assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_server_at_once(slow_command: Callable[..., Any], sent: signal.Signals) -> None:
    process, url = slow_command("--max-tokens", "2000")
    (asker,) = running_answers(url, 1)
    process.send_signal(sent)
    assert wait_until(lambda: not is_up(url))
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(sent)
    assert process.wait(10) == -sent
    assert time.monotonic() - began < 1
    asker.join(10)


def test_the_access_log_is_on_stdout_unless_it_is_turned_off(slow_command: Callable[..., Any]) -> None:
    found = {}
    for option in ("--access-log", "--no-access-log"):
        process, url = slow_command(option)
        httpx.get(f"{url}/v1/models")
        process.terminate()
        found[option] = [json.loads(line)["path"] for line in process.communicate(timeout=20)[0].splitlines()]
    assert "/v1/models" in found["--access-log"]
    assert found["--no-access-log"] == []


def test_limits_of_the_server_hold_beside_those_of_keys(serve: Serve) -> None:
    url = serve(slow(), limits=Limits(body=100), api_keys={"a": ApiKey(key=KEY, at_once=1)})
    for _ in range(3):  # a refused request frees its place
        assert ask(url, KEY, user="x" * 200).status_code == 413
    assert ask(url, KEY, max_tokens=1).status_code == 200
