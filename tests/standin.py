"""A small server in this process that speaks vLLM's protocol, with a tiny model behind it, and fails on request.

It stands in for vLLM in tests of what the client does with answers and failures. `test_vllm.py` tests that vLLM itself
answers in this way.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from nudging import Nudger
from nudging.models.local.model import LocalModel
from nudging.step import Step

QUESTIONS = ["why is the sky blue?", "are whales far away?", "🌍 go there"]


def remote(servers: tuple["StandIn", "StandIn"], **options: Any) -> Nudger:
    """Return a nudger whose base and nudging model are on these servers."""
    base, nudging = servers
    names: dict[str, Any] = {"base_model": base.name, "nudging_model": nudging.name}
    urls = {"base_url": base.url, "nudging_url": nudging.url}
    return Nudger(**{**names, **urls, "threshold": 0.2, "max_tokens": 24, **options})


@dataclass
class StandIn:
    """A stand-in server: its behaviour, and the requests that it got.

    Args:
        model: The model that answers.
        name: The server's name for the model.
        url: The URL of the API.
        faults: How the next completions fail, in order: a status code; (status, seconds) for one with a `Retry-After`
            header; "reset" before the answer; ("cut", n) after n chunks; None to answer.
        logprobs: Send log-probabilities.
        lists_end: List the end token among the tokens.
        tokenizes: Have /tokenize and /detokenize.
        stops: Have the package nudging-vllm.
        requests: The bodies of all requests for completions.
        headers: The headers of all POST requests.
        abandoned: Number of completions whose client closed the connection.
        running: Number of completions that are running.
        most_running: Highest number of completions that were running at the same time.
        lock: Guards the counters.
    """

    model: LocalModel
    name: str = "tiny"
    url: str = ""
    faults: list[Any] = field(default_factory=list)
    logprobs: bool = True
    lists_end: bool = True
    tokenizes: bool = True
    stops: bool = False
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    abandoned: int = 0
    running: int = 0
    most_running: int = 0
    lock: Any = field(default_factory=Lock)


@contextmanager
def standing_in(folder: Path, **options: Any) -> Iterator[StandIn]:
    """Run a stand-in server for the model in this folder, on a free port."""
    standin = StandIn(LocalModel(folder), **options)
    standin.model.load()

    class Handler(_Handler):
        server_side = standin

    with on_free_port(Handler) as root:
        standin.url = f"{root}/v1"
        yield standin


@contextmanager
def on_free_port(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Run a server in a thread, and yield its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server_side: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        context = self.server_side.model.context_length
        card = {"id": self.server_side.name, "object": "model", "owned_by": "vllm", "max_model_len": context}
        self._send(200, {"object": "list", "data": [card]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server_side.headers.append({name.lower(): value for name, value in self.headers.items()})
        model = self.server_side.model
        if not self.path.startswith("/v1/") and not self.server_side.tokenizes:
            self._send(404, {"error": {"message": "Not Found"}})
        elif self.path == "/tokenize":
            if "messages" in body:
                text = model.tokenizer.render(body["messages"])
                self._send(200, {"tokens": model.tokenizer.encode(text, special_tokens=False)})
            else:
                self._send(
                    200, {"tokens": model.tokenizer.encode(body["prompt"], special_tokens=body["add_special_tokens"])}
                )
        elif self.path == "/detokenize":
            self._send(200, {"prompt": model.tokenizer.loaded.decode(body["tokens"])})
        elif not body.get("stream"):
            self._probed()
        else:
            self._complete(body)

    def _complete(self, body: dict[str, Any]) -> None:
        side = self.server_side
        with side.lock:
            side.requests.append(body)
            fault = side.faults.pop(0) if side.faults else None
            side.running += 1
            side.most_running = max(side.most_running, side.running)
        try:
            match fault:
                case int(status):
                    self._send(status, {"error": {"message": f"no luck today, {self.headers['authorization']}"}})
                case (int(status), after):
                    self._send(status, {"error": {"message": "slower"}}, {"retry-after": str(after)})
                case "reset":
                    self.close_connection = True
                case ("cut", chunks):
                    self._stream(body, chunks)
                case _:
                    self._stream(body, None)
        finally:
            with side.lock:
                side.running -= 1

    def _probed(self) -> None:
        """Answer the question whether nudging-vllm is installed."""
        stopped = {"tokens": ["<end>"], "token_logprobs": [-2.0], "top_logprobs": [{"<end>": -2.0, "a": -1.0}]}
        not_stopped = {"tokens": ["a", "b"], "token_logprobs": [-1.0] * 2, "top_logprobs": [{"a": -1.0}, {"b": -1.0}]}
        logprobs = stopped if self.server_side.stops else not_stopped
        self._send(200, {"choices": [{"text": "", "logprobs": logprobs, "finish_reason": "stop"}]})

    def _stream(self, body: dict[str, Any], cut_after: int | None) -> None:
        side = self.server_side
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        author: Any = "base" if body.get("add_special_tokens", True) else "nudging"
        session = side.model.session(body["prompt"], author=author)
        with suppress(BrokenPipeError, ConnectionResetError):
            for sent, step in enumerate(session.steps("", body["max_tokens"])):
                if sent == cut_after:
                    return
                reason = "stop" if step.end else "length"
                last = step.end or sent + 1 == body["max_tokens"]
                stop = body.get("vllm_xargs", {})
                is_unsure = step.probability < stop.get("nudging_threshold", 0) and sent >= stop["nudging_skip"]
                if side.stops and is_unsure:
                    self._stopped(step)
                    break
                self._chunk(step.text, step.probability, reason if last else None, step.end)
            self.wfile.write(b"data: [DONE]\n\n")
            session.close()
            return
        side.abandoned += 1
        session.close()

    def _stopped(self, step: Step) -> None:
        """Send the end token in place of a step that the model is unsure of, as nudging-vllm does."""
        listed = {"<end>": math.log(step.probability) - (0 if step.end else 1)}
        listed |= {} if step.end else {step.text: math.log(step.probability)}
        found = {"tokens": ["<end>"], "token_logprobs": [listed["<end>"]], "top_logprobs": [listed]}
        self._send_chunk({"index": 0, "text": "", "logprobs": found, "finish_reason": "stop"})

    def _chunk(self, text: str, probability: float, reason: str | None, end: bool) -> None:
        side = self.server_side
        logprob = math.log(probability)
        found = {"tokens": [], "token_logprobs": [], "top_logprobs": []}
        if not end or side.lists_end:
            token = "<end>" if end else text
            found = {"tokens": [token], "token_logprobs": [logprob], "top_logprobs": [{token: logprob}]}
        logprobs = found if side.logprobs else None
        self._send_chunk({"index": 0, "text": text, "logprobs": logprobs, "finish_reason": reason})

    def _send_chunk(self, choice: dict[str, Any]) -> None:
        side = self.server_side
        chunk = {"id": "1", "object": "text_completion", "created": 0, "model": side.name, "choices": [choice]}
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.flush()

    def _send(self, status: int, answer: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        payload = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)
