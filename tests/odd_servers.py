"""Stand-ins for servers that cannot run here, and for hosts that answer in odd ways. A tiny model decodes behind them.

Each class says what it stands for and where that server's behaviour is known from. None of them was compared with a
running server. For vLLM there is `standin.py`, and llama.cpp's own servers run in `llamacpp_server.py`.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from standin import on_free_port
from tiny_decoder import Decoded, Decoding, Listed, TinyDecoder

Body = Mapping[str, Any]


@dataclass
class OddServer:
    """A server in this process.

    Args:
        decoder: The model that answers.
        name: The server's name for the model.
        root: The URL of the server.
        requests: The path and the body of all POST requests.
        visited: The paths of all GET requests.
        abandoned: Number of streams whose client closed the connection.
    """

    decoder: TinyDecoder
    name: str = "tiny"
    root: str = ""
    requests: list[tuple[str, Body]] = field(default_factory=list)
    visited: list[str] = field(default_factory=list)
    abandoned: int = 0

    @property
    def url(self) -> str:
        """The URL that a user passes, up to and with `/v1`."""
        return f"{self.root}/v1"

    def get(self, exchange: "Exchange", path: str) -> None:
        """Answer a GET request."""
        exchange.send(404, {"detail": "Not Found"})

    def post(self, exchange: "Exchange", path: str, body: Body) -> None:
        """Answer a POST request."""
        exchange.send(404, {"detail": "Not Found"})


@contextmanager
def running(server: OddServer) -> Iterator[OddServer]:
    """Run a server on a free port."""

    class Handler(Exchange):
        side = server

    with on_free_port(Handler) as root:
        server.root = root
        yield server


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer."""

    side: OddServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.side.visited.append(self.path)
        self.side.get(self, self.path)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.side.requests.append((self.path, body))
        self.side.post(self, self.path, body)

    def send(self, status: int, answer: Any, kind: str = "application/json") -> None:
        """Send a whole answer: JSON, or a text as it is."""
        payload = (answer if kind.startswith("text") else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def stream(self, lines: Iterator[str], kind: str = "text/event-stream") -> None:
        """Send an answer line by line, as it is made."""
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for line in lines:
                self.wfile.write(line.encode())
                self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.side.abandoned += 1


def event(data: Any, prefix: str = "data: ") -> str:
    """Return a server-sent event."""
    return f"{prefix}{data if isinstance(data, str) else json.dumps(data)}\n\n"


OLLAMA_DEFAULTS = {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "repeat_penalty": 1.0}
"""Ollama's options where neither the request nor the model has others."""


@dataclass
class Ollama(OddServer):
    """Stands for Ollama. Known from its source of August 2026: `api/types.go`, `server/routes.go`, `server/logprob.go`,
    `llm/llama_server.go` and `openai/openai.go`.

    It runs llama.cpp inside. So log-probabilities are the model's own, before sampling; the tokens of one character
    come as one entry; and text prompts get a BOS if the model has one. The end token is never shown.

    Args:
        parameters: The sampling parameters of the model's Modelfile.
        default_context: The context of requests without `num_ctx`.
        thinks: True for a model whose template has a place for thoughts. Without `think: false` its whole answer then
            arrives in `thinking`, as if it had not closed its thoughts.
        repeats: Number of equal texts in a row after which the stream ends without a last line.
        old: True for a version without log-probabilities, before 0.12.11.
        loaded: True once a request has loaded the model.
    """

    name: str = "tiny:latest"
    parameters: dict[str, Any] = field(default_factory=dict)
    default_context: int = 256
    thinks: bool = False
    repeats: int = 30
    old: bool = False
    loaded: bool = False

    def get(self, exchange: Exchange, path: str) -> None:
        card = {"name": self.name, "model": self.name, "modified_at": "2026-08-21T10:00:00Z", "size": 1, "digest": "0"}
        match path:
            case "/":
                exchange.send(200, "Ollama is running", "text/plain; charset=utf-8")
            case "/api/version":
                exchange.send(200, {"version": "0.30.0"})
            case "/api/tags":
                exchange.send(200, {"models": [{**card, "details": self._details()}]})
            case "/api/ps":
                running = {**card, "size_vram": 0, "context_length": self.default_context}
                exchange.send(200, {"models": [running] if self.loaded else []})
            case "/v1/models":
                listed = {"id": self.name, "object": "model", "created": 1787306400, "owned_by": "library"}
                exchange.send(200, {"object": "list", "data": [listed]})
            case _:
                exchange.send(404, "404 page not found", "text/plain")

    def post(self, exchange: Exchange, path: str, body: Body) -> None:
        known = body.get("model") in (self.name, self.name.removesuffix(":latest"))
        if path in ("/api/generate", "/api/chat", "/api/show", "/v1/completions") and not known:
            message = f"model '{body.get('model')}' not found"
            openai = {"message": message, "type": "not_found_error", "param": None, "code": None}
            exchange.send(404, {"error": openai if path.startswith("/v1") else message})
            return
        match path:
            case "/api/show":
                exchange.send(200, self._shown())
            case "/api/chat" if body.get("_debug_render_only"):
                rendered = {"rendered_template": self.decoder.render(body["messages"])}
                exchange.send(200, {"model": self.name, "created_at": "", "done": False, "_debug_info": rendered})
            case "/api/generate":
                self._generate(exchange, body)
            case "/v1/completions":
                self._complete(exchange, body)
            case _:
                exchange.send(404, "404 page not found", "text/plain")

    def _generate(self, exchange: Exchange, body: Body) -> None:
        if not 0 <= body.get("top_logprobs", 0) <= 20:
            exchange.send(400, {"error": "top_logprobs must be between 0 and 20"})
            return
        self.loaded = True
        if not body["prompt"]:  # this only loads the model
            exchange.send(200, {"model": self.name, "response": "", "done": True, "done_reason": "load"})
            return
        options = {**OLLAMA_DEFAULTS, **self.parameters, **body.get("options", {})}
        context = options.get("num_ctx", self.default_context)
        raw = body.get("raw", False)
        prompt = body["prompt"] if raw else self.decoder.render([{"role": "user", "content": body["prompt"]}])
        ids = self.decoder.encode(prompt.removeprefix("<bos>"), special_tokens=True)  # no other name is removed
        if len(ids) >= context:
            if not body.get("truncate", True) or not body.get("shift", True):
                exchange.send(400, {"error": "the prompt is longer than the context length currently available"})
                return
            ids = ids[:4] + ids[len(ids) - context // 2 :]
        room = context - len(ids)
        asked = options.get("num_predict", -1)
        limit = min(asked, room) if asked > 0 else room  # 0 is not passed on to llama.cpp
        lines = self._lines(body, ids, self._decoding(options, limit, body))
        if body.get("stream", True):
            exchange.stream((json.dumps(line) + "\n" for line in lines), "application/x-ndjson")
            return
        whole = list(lines)
        logprobs = [one for line in whole for one in line.get("logprobs", [])]
        text = "".join(line["response"] for line in whole)
        exchange.send(200, {**whole[-1], "response": text, **({"logprobs": logprobs} if logprobs else {})})

    def _lines(self, body: Body, ids: list[int], how: Decoding) -> Iterator[dict[str, Any]]:
        place = "thinking" if self.thinks and body.get("think", True) else "response"
        reason, count, last, equal = "length", 0, "", 0
        for decoded in self.decoder.decode(ids, how):
            count += 1
            if decoded.end:
                reason = "stop"
            equal, last = (equal + 1, last) if decoded.text.strip() == last else (0, decoded.text.strip())
            if equal > self.repeats:
                return
            if decoded.text:
                line: dict[str, Any] = {"model": self.name, "created_at": "2026-08-21T10:00:00Z", "response": ""}
                line |= {place: decoded.text, "done": False}
                if body.get("logprobs") and not self.old:
                    line["logprobs"] = [self._entry(decoded, body.get("top_logprobs", 0))]
                yield line
        totals = {"total_duration": 1, "load_duration": 1, "prompt_eval_count": len(ids), "eval_count": count}
        last_line = {"model": self.name, "created_at": "2026-08-21T10:00:00Z", "response": "", "done": True}
        yield {**last_line, "done_reason": reason, **totals}

    def _entry(self, decoded: Decoded, top: int) -> dict[str, Any]:
        def shown(text: str, logprob: float) -> dict[str, Any]:
            return {"token": text, "logprob": logprob, **({"bytes": list(text.encode())} if text else {})}

        entry = shown(decoded.text, decoded.token.logprob)
        listed = [shown("" if one.special else one.text, one.logprob) for one in decoded.top[:top]]
        return entry | ({"top_logprobs": listed} if top else {})

    def _complete(self, exchange: Exchange, body: Body) -> None:
        """Answer as the OpenAI route does: the template is applied, and log-probabilities are dropped."""
        options = {"temperature": body.get("temperature", 1.0), "top_p": body.get("top_p", 1.0)}
        options |= {"num_predict": body["max_tokens"]} if "max_tokens" in body else {}
        prompt = self.decoder.render([{"role": "user", "content": body["prompt"]}])
        how = self._decoding({**OLLAMA_DEFAULTS, **options}, options.get("num_predict", 16), body)

        def chunks() -> Iterator[str]:
            for line in self._lines({}, self.decoder.encode(prompt, special_tokens=True), how):
                choice = {"text": line["response"], "index": 0, "finish_reason": line.get("done_reason")}
                yield event({"id": "cmpl-1", "object": "text_completion", "model": self.name, "choices": [choice]})
            yield event("[DONE]")

        exchange.stream(chunks())

    def _decoding(self, options: Mapping[str, Any], limit: int, body: Body) -> Decoding:
        return Decoding(
            limit,
            top=max(body.get("top_logprobs", 0), 1),
            temperature=options["temperature"],
            top_k=options["top_k"],
            top_p=options["top_p"],
            min_p=options["min_p"],
            repetition_penalty=options["repeat_penalty"],
            seed=options.get("seed"),
        )

    def _details(self) -> dict[str, Any]:
        return {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"], "parameter_size": "1M"}

    def _shown(self) -> dict[str, Any]:
        info = {"general.architecture": "llama", "llama.context_length": self.decoder.context}
        parameters = "\n".join(f"{name} {value}" for name, value in self.parameters.items())
        shown = {"modelfile": "", "parameters": parameters, "template": "{{ .Prompt }}", "details": self._details()}
        return {**shown, "model_info": info, "capabilities": ["completion"]}


@dataclass
class SGLang(OddServer):
    """Stands for SGLang. Known from its source of 2026: `openai/serving_completions.py`, `openai/protocol.py`,
    `openai/utils.py`, `openai/serving_tokenize.py`, `http_server.py` and `layers/sampler.py`.

    Log-probabilities come after penalties, biases and patterns, and after the temperature if one samples. The end token
    is listed. Text prompts get the tokenizer's special tokens; token ids are taken as they are.

    Args:
        interval: Number of tokens in one chunk (`--stream-interval`).
    """

    interval: int = 1

    def get(self, exchange: Exchange, path: str) -> None:
        match path:
            case "/v1/models":
                card = {"id": self.name, "object": "model", "created": 0, "owned_by": "sglang", "root": self.name}
                card |= {"parent": None, "max_model_len": self.decoder.context}
                exchange.send(200, {"object": "list", "data": [card]})
            case "/model_info" | "/get_model_info":
                info = {"model_path": self.name, "tokenizer_path": self.name, "is_generation": True}
                exchange.send(200, {**info, "preferred_sampling_params": None, "weight_version": "default"})
            case "/api/tags":  # SGLang also speaks Ollama's protocol, without log-probabilities
                exchange.send(200, {"models": [{"name": self.name, "model": self.name, "size": 0}]})
            case "/health":
                exchange.send(200, "", "text/plain")
            case _:
                exchange.send(404, {"detail": "Not Found"})

    def post(self, exchange: Exchange, path: str, body: Body) -> None:
        match path:
            case "/v1/completions":
                self._complete(exchange, body)
            case "/generate":
                self._generate(exchange, body)
            case "/tokenize" | "/v1/tokenize":
                ids = self.decoder.encode(body["prompt"], body.get("add_special_tokens", True))
                exchange.send(200, {"tokens": ids, "count": len(ids), "max_model_len": 10**30})
            case "/detokenize" | "/v1/detokenize":
                skip = body.get("skip_special_tokens", True)
                exchange.send(200, {"text": self.decoder.tokenizer.decode(body["tokens"], skip_special_tokens=skip)})
            case _:
                exchange.send(404, {"detail": "Not Found"})

    def _complete(self, exchange: Exchange, body: Body) -> None:
        prompt, limit = body["prompt"], body.get("max_tokens", 16)
        ids = self.decoder.encode(prompt, special_tokens=True) if isinstance(prompt, str) else list(prompt)
        if not ids or limit <= 0:
            self._refuse(exchange, "max_tokens must be positive" if ids else "Prompt cannot be empty")
            return
        context = self.decoder.context
        if len(ids) >= context:
            self._refuse(
                exchange, f"The input ({len(ids)} tokens) is longer than the model's context length ({context} tokens)."
            )
            return
        if len(ids) + limit >= context:  # newer versions allow the last token
            self._refuse(
                exchange, f"Requested token count exceeds the model's maximum context length of {context} tokens."
            )
            return
        how = Decoding(
            limit,
            top=body.get("logprobs") or 0,
            temperature=body.get("temperature", 1.0),
            top_k=body.get("top_k", -1),
            top_p=body.get("top_p", 1.0),
            min_p=body.get("min_p", 0.0),
            repetition_penalty=body.get("repetition_penalty", 1.0),
            bias={int(token): value for token, value in (body.get("logit_bias") or {}).items()},
            pattern=body.get("regex"),
            seed=body.get("seed"),
            reports="tempered",
        )
        exchange.stream(self._chunks(body, ids, how))

    def _chunks(self, body: Body, ids: list[int], how: Decoding) -> Iterator[str]:
        waiting: list[Decoded] = []
        for count, decoded in enumerate(self.decoder.decode(ids, how), 1):
            waiting.append(decoded)
            last = decoded.end or count == how.limit
            if last or len(waiting) == self.interval:
                reason = ("stop" if decoded.end else "length") if last else None
                yield event(self._chunk(body, waiting, reason))
                waiting = []
        yield event("[DONE]")

    def _chunk(self, body: Body, tokens: list[Decoded], reason: str | None) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "text": "".join(one.text for one in tokens), "logprobs": None}
        if body.get("logprobs") is not None:
            choice["logprobs"] = {
                "text_offset": [-1 for _ in tokens],
                "token_logprobs": [one.token.logprob for one in tokens],
                "tokens": [one.token.text for one in tokens],
                "top_logprobs": [_by_text(one.top) for one in tokens] if body["logprobs"] else [],
            }
        choice |= {"finish_reason": reason, "matched_stop": self.decoder.end if reason == "stop" else None}
        if body.get("return_token_ids"):
            choice["token_ids"] = [one.token.id for one in tokens]
        chunk = {"id": "1", "object": "text_completion", "created": 0, "model": self.name, "usage": None}
        return {**chunk, "choices": [choice]}

    def _generate(self, exchange: Exchange, body: Body) -> None:
        """Answer a request of the native API that scores a given text."""
        ids, start = body["input_ids"], max(body.get("logprob_start_len", 0), 0)
        texts = [self.decoder.tokenizer.decode([token]) for token in ids]
        listed = [list(one) for one in zip(self.decoder.scores(ids), ids, texts, strict=True)][start:]
        meta = {"id": "1", "prompt_tokens": len(ids), "finish_reason": {"type": "length"}}
        exchange.send(200, {"text": "", "meta_info": {**meta, "input_token_logprobs": listed}})

    def _refuse(self, exchange: Exchange, message: str) -> None:
        error = {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": 400}
        exchange.send(400, error)


@dataclass
class TGI(OddServer):
    """Stands for text-generation-inference. Known from its source of January 2026: `router/src/lib.rs`, `server.rs`,
    `validation.rs` and `server/text_generation_server/utils/tokens.py`.

    Prompts are texts, and always get the tokenizer's special tokens. Log-probabilities come after the grammar and the
    temperature. `/v1/completions` has none.

    Args:
        most: Highest number of top tokens (`--max-top-n-tokens`).
    """

    most: int = 5

    def get(self, exchange: Exchange, path: str) -> None:
        total = self.decoder.context
        match path:
            case "/info":
                info = {"model_id": self.name, "model_sha": None, "max_input_tokens": total - 1}
                info |= {"max_total_tokens": total, "max_client_batch_size": 4, "max_concurrent_requests": 128}
                exchange.send(200, {**info, "router": "text-generation-router", "version": "3.3.7"})
            case "/v1/models":
                card = {"id": self.name, "object": "model", "created": 0, "owned_by": self.name}
                exchange.send(200, {"object": "list", "data": [card]})
            case "/health":
                exchange.send(200, "", "text/plain")
            case _:
                exchange.send(404, "", "text/plain")

    def post(self, exchange: Exchange, path: str, body: Body) -> None:
        match path:
            case "/generate_stream":
                self._generate(exchange, body, self._events)
            case "/generate":
                self._generate(exchange, body, None)
            case "/v1/completions":
                self._complete(exchange, body)
            case "/tokenize":
                exchange.send(200, self._tokens(body["inputs"]))
            case "/chat_tokenize":
                text = self.decoder.render(body["messages"])
                exchange.send(200, {"tokenize_response": self._tokens(text), "templated_text": text})
            case _:
                exchange.send(404, "", "text/plain")

    def _generate(self, exchange: Exchange, body: Body, events: Callable[..., Iterator[str]] | None) -> None:
        parameters = body.get("parameters") or {"do_sample": True}
        ids = self.decoder.encode(body["inputs"], special_tokens=True)
        limit = parameters.get("max_new_tokens") or max(self.decoder.context - len(ids), 1)
        if problem := self._problem(parameters, ids, limit):
            exchange.send(422, {"error": f"Input validation error: {problem}", "error_type": "validation"})
            return
        grammar = parameters.get("grammar")
        sampled = any(parameters.get(name) is not None for name in ("temperature", "top_k", "top_p"))
        how = Decoding(
            limit,
            top=parameters.get("top_n_tokens", 0),
            temperature=(parameters.get("temperature") or 1.0) if parameters.get("do_sample") or sampled else 0.0,
            top_k=parameters.get("top_k") or 0,
            top_p=parameters.get("top_p") or 1.0,
            repetition_penalty=parameters.get("repetition_penalty") or 1.0,
            pattern=grammar["value"] if grammar else None,
            seed=parameters.get("seed"),
            reports="tempered",
        )
        if events:
            exchange.stream(events(ids, how, parameters))
        else:
            exchange.send(200, self._whole(ids, how, parameters))

    def _problem(self, parameters: Mapping[str, Any], ids: list[int], limit: int) -> str | None:
        temperature, top_p = parameters.get("temperature"), parameters.get("top_p")
        if temperature is not None and temperature <= 0:
            return "`temperature` must be strictly positive"
        if top_p is not None and not 0 < top_p < 1:
            return "`top_p` must be > 0.0 and < 1.0"
        if (parameters.get("top_k") or 1) <= 0:
            return "`top_k` must be strictly positive"
        if parameters.get("top_n_tokens", 0) > self.most:
            return f"`top_n_tokens` must be >= 0 and <= {self.most}. Given: {parameters['top_n_tokens']}"
        if len(ids) + limit > self.decoder.context:
            return (
                f"`inputs` tokens + `max_new_tokens` must be <= {self.decoder.context}. Given: {len(ids)} `inputs` "
                f"tokens and {limit} `max_new_tokens`"
            )
        return None

    def _events(self, ids: list[int], how: Decoding, parameters: Mapping[str, Any]) -> Iterator[str]:
        text, index = "", 0
        for decoded in self.decoder.decode(ids, how):
            index, text = index + 1, text + decoded.text
            token = _tgi_token(decoded.token, decoded.token.text if decoded.end else decoded.text)
            found: dict[str, Any] = {"index": index, "token": token}
            if decoded.top:
                found["top_tokens"] = [_tgi_token(one, one.text) for one in decoded.top]
            found |= {"generated_text": None, "details": None}
            if decoded.end or index == how.limit:
                reason = "eos_token" if decoded.end else "length"
                details = {"finish_reason": reason, "generated_tokens": index, "seed": None, "input_length": len(ids)}
                found |= {"generated_text": text, "details": details if parameters.get("details") else None}
            yield event(found, "data:")

    def _whole(self, ids: list[int], how: Decoding, parameters: Mapping[str, Any]) -> dict[str, Any]:
        decoded = list(self.decoder.decode(ids, how))
        prefill = [
            {"id": token, "text": self.decoder.tokenizer.decode([token]), "logprob": logprob}
            for token, logprob in zip(ids, self.decoder.scores(ids), strict=True)
        ]
        reason = "eos_token" if decoded and decoded[-1].end else "length"
        details = {"finish_reason": reason, "generated_tokens": len(decoded), "seed": None}
        details |= {"prefill": prefill if parameters.get("decoder_input_details") else []}
        details |= {"tokens": [_tgi_token(one.token, one.token.text) for one in decoded]}
        return {"generated_text": "".join(one.text for one in decoded), "details": details}

    def _complete(self, exchange: Exchange, body: Body) -> None:
        """Answer as the OpenAI route does, without log-probabilities."""
        ids = self.decoder.encode(body["prompt"], special_tokens=True)
        how = Decoding(body.get("max_tokens", 100), temperature=body.get("temperature", 1.0), seed=body.get("seed"))

        def chunks() -> Iterator[str]:
            for decoded in self.decoder.decode(ids, how):
                choice = {"index": 0, "text": decoded.text, "logprobs": None, "finish_reason": ""}
                yield event({"object": "text_completion", "id": "", "created": 0, "choices": [choice]})
            yield event("[DONE]")

        exchange.stream(chunks())

    def _tokens(self, text: str) -> list[dict[str, Any]]:
        found = self.decoder.tokenizer(text, return_offsets_mapping=True)
        pairs = zip(found["input_ids"], found["offset_mapping"], strict=True)
        return [{"id": token, "text": text[at:to], "start": at, "stop": to} for token, (at, to) in pairs]


ODDITIES = (
    "unknown arguments are refused with 400",
    "unknown arguments are refused with 422",
    "more than 5 logprobs are refused",
    "models are a bare array",
    "models are not listed",
    "models are a web page",
    "models have other names",
    "models are null",
    "token_logprobs are null",
    "lists have unequal lengths",
    "logprobs are null",
    "logprobs are missing",
    "choices are empty",
    "chunks are numbers",
    "completions are a web page",
    "completions are an error in the stream",
    "completions are an error with status 200",
    "completions are whole although streamed",
)
"""The ways in which a `Host` may be odd."""

HARMLESS = ODDITIES[:5]
"""Those that a client can work with: all fields are there, or can be left out."""

PAGE = "<!doctype html><html><body>Welcome</body></html>"
KNOWN = frozenset({"model", "prompt", "max_tokens", "temperature", "top_p", "seed", "stream", "logprobs", "stop"})


@dataclass
class Host(OddServer):
    """A host that offers completions in OpenAI's classic format, and is odd in one way. It stands for no one server.

    It lists no context length and has no tokenizer.

    Args:
        oddity: One of `ODDITIES`, or None for a host without any.
    """

    oddity: str | None = None

    def get(self, exchange: Exchange, path: str) -> None:
        card = {"id": self.name, "object": "model", "created": 0, "owned_by": "a host"}
        answers: dict[str | None, tuple[int, Any, str]] = {
            "models are a bare array": (200, [card], "application/json"),
            "models are not listed": (404, {"error": {"message": "Not Found"}}, "application/json"),
            "models are a web page": (200, PAGE, "text/html"),
            "models have other names": (
                200,
                {"object": "list", "data": [{**card, "id": "another"}]},
                "application/json",
            ),
            "models are null": (200, {"object": "list", "data": None}, "application/json"),
        }
        if path == "/v1/models":
            exchange.send(*answers.get(self.oddity, (200, {"object": "list", "data": [card]}, "application/json")))
        else:
            exchange.send(404, {"error": {"message": "Not Found"}})

    def post(self, exchange: Exchange, path: str, body: Body) -> None:
        unknown = sorted(set(body) - KNOWN)
        if path != "/v1/completions":
            exchange.send(404, {"error": {"message": "Not Found"}})
        elif unknown and self.oddity == ODDITIES[0]:
            message = f"Unrecognized request argument supplied: {unknown[0]}"
            error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
            exchange.send(400, {"error": error})
        elif unknown and self.oddity == ODDITIES[1]:
            detail = {"type": "extra_forbidden", "loc": ["body", unknown[0]], "msg": "Extra inputs are not permitted"}
            exchange.send(422, {"detail": [detail]})
        elif (body.get("logprobs") or 0) > 5 and self.oddity == ODDITIES[2]:
            message = "Invalid value for 'logprobs': must be less than or equal to 5."
            error = {"message": message, "type": "invalid_request_error", "param": "logprobs", "code": None}
            exchange.send(400, {"error": error})
        elif self.oddity == "completions are a web page":
            exchange.send(200, PAGE, "text/html")
        elif self.oddity == "completions are an error with status 200":
            exchange.send(200, {"error": {"message": "no capacity", "type": "server_error", "code": 503}})
        elif self.oddity == "completions are whole although streamed":
            chunks = list(self._chunks(body))
            exchange.send(200, {**chunks[0], "choices": [one for chunk in chunks for one in chunk["choices"]]})
        else:
            exchange.stream(self._events(body))

    def _events(self, body: Body) -> Iterator[str]:
        for number, chunk in enumerate(self._chunks(body)):
            if self.oddity == "completions are an error in the stream" and number == 1:
                yield event({"error": {"message": "the model is gone", "type": "server_error", "code": 500}})
                return
            yield event(self._damaged(chunk))
        yield event("[DONE]")

    def _chunks(self, body: Body) -> Iterator[dict[str, Any]]:
        top, limit = body.get("logprobs") or 0, body.get("max_tokens", 16)
        how = Decoding(limit, top, body.get("temperature", 1.0), top_p=body.get("top_p", 1.0), seed=body.get("seed"))
        ids = self.decoder.encode(body["prompt"], special_tokens=True)
        for number, decoded in enumerate(self.decoder.decode(ids, how), 1):
            logprobs = {"tokens": [decoded.token.text], "token_logprobs": [decoded.token.logprob], "text_offset": [0]}
            logprobs["top_logprobs"] = [_by_text(decoded.top)]
            reason = "stop" if decoded.end else "length" if number == limit else None
            choice = {"index": 0, "text": decoded.text, "logprobs": logprobs if top else None, "finish_reason": reason}
            yield {"id": "1", "object": "text_completion", "created": 0, "model": self.name, "choices": [choice]}

    def _damaged(self, chunk: dict[str, Any]) -> Any:
        choice = chunk["choices"][0]
        match self.oddity:
            case "token_logprobs are null":
                choice["logprobs"]["token_logprobs"] = [None]
                choice["logprobs"]["top_logprobs"] = [None]
            case "lists have unequal lengths":
                choice["logprobs"]["token_logprobs"].append(math.log(0.5))
            case "logprobs are null":
                choice["logprobs"] = None
            case "logprobs are missing":
                del choice["logprobs"]
            case "choices are empty":
                return {**chunk, "choices": []}
            case "chunks are numbers":
                return 5
        return chunk


@contextmanager
def odd_server(kind: type[OddServer], folder: Path, **options: Any) -> Iterator[Any]:
    """Run a stand-in of this kind for the model in this folder."""
    with running(kind(TinyDecoder(folder), **options)) as server:
        yield server


def _by_text(tokens: tuple[Listed, ...]) -> dict[str, float]:
    """Return log-probabilities by text. Where two tokens have the same text, the better one stays."""
    found: dict[str, float] = {}
    for one in tokens:
        found.setdefault(one.text, one.logprob)
    return found


def _tgi_token(token: Listed, text: str) -> dict[str, Any]:
    return {"id": token.id, "text": text, "logprob": token.logprob, "special": token.special}
