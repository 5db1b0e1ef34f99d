"""The application: OpenAI's endpoints, and what a server needs beside them."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from importlib.resources import files
from typing import Any, TypeAlias

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from nudging._threads import in_thread
from nudging.answer import Answer, Piece
from nudging.errors import NudgingError
from nudging.nudger import Nudger
from nudging.prompting.conversation import Prompt
from nudging.request import Options
from nudging.serving.errors import RefusedError, refusal, refused
from nudging.serving.limits import Gate, Limits, Turns
from nudging.serving.metrics import Metrics
from nudging.serving.replies import Deltas, Reply, finish_reason, usage
from nudging.serving.requests import ChatRequest, CompletionRequest
from nudging.stream import AsyncAnswerStream

Chunk: TypeAlias = dict[str, Any]

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "content": {"application/json": {"schema": {"type": "object"}}}}
    for status, description in {
        400: "The request cannot be answered",
        401: "The API key is missing or wrong",
        404: "There is no such model",
        408: "The request did not come to its end",
        413: "The request is too large",
        429: "Too many requests wait",
        502: "A model's server failed",
        503: "A model cannot be used",
    }.items()
}

STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}, "application/json": {}}}}


def create_app(
    nudger: Nudger, *, name: str = "nudged", limits: Limits | None = None, api_key: str | None = None
) -> FastAPI:
    """A server of one pair, as an ASGI application.

    Args:
        nudger: Answers, with its own settings where a request has none.
        name: Of the model, to clients.
        limits: What is borne.
        api_key: What clients must send as their bearer token; without one everybody is served.
    """
    limits = limits or Limits()
    turns = Turns(limits)
    metrics = Metrics(lambda: turns.running, lambda: turns.waiting)
    answering = _Answering(nudger, name, limits, turns, metrics)
    app = FastAPI(title="nudging", docs_url=None, redoc_url=None)
    app.add_middleware(Gate, limits=limits, api_key=api_key)
    app.add_middleware(_Counted, metrics=metrics)

    @app.post("/v1/chat/completions", responses={**ERRORS, **STREAM}, response_model=None)
    async def chat_completions(request: ChatRequest) -> Response:
        answering.check_model(request.model)
        return _WhileListening(lambda send: answering.chat(request, send))

    @app.post("/v1/completions", responses={**ERRORS, **STREAM}, response_model=None)
    async def completions(request: CompletionRequest) -> Response:
        answering.check_model(request.model)
        return _WhileListening(lambda send: answering.completion(request, send))

    card = {"id": name, "object": "model", "created": int(time.time()), "owned_by": "nudging"}

    @app.get("/v1/models", responses=ERRORS)
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [card]}

    @app.get("/v1/models/{model:path}", responses=ERRORS)
    async def model(model: str) -> dict[str, Any]:
        answering.check_model(model)
        return card

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", response_class=Response)
    async def prometheus() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", response_class=HTMLResponse)
    async def page() -> str:
        return (files("nudging.serving") / "page.html").read_text(encoding="utf-8")

    _say_errors_as_openai_does(app)
    return app


class _Answering:
    """Requests to answers."""

    def __init__(self, nudger: Nudger, name: str, limits: Limits, turns: Turns, metrics: Metrics) -> None:
        self._nudger, self._name, self._limits, self._turns, self._metrics = nudger, name, limits, turns, metrics

    def check_model(self, name: str | None) -> None:
        """Whether it is the one that is served."""
        if name is not None and name != self._name:
            message = f"there is no model {name!r} here: it is {self._name!r}"
            raise RefusedError(404, "invalid_request_error", message, code="model_not_found")

    async def chat(self, request: ChatRequest, send: Send) -> None:
        conversation, options, reply = request.conversation(), request.options(), Reply("chat.completion", self._name)
        async with self._turns.turn():
            await self._check_length(conversation, options)
            if not request.stream:
                await _send_json(send, reply.whole(await self._whole(conversation, options)))
                return
            deltas = Deltas()

            def of_piece(piece: Piece, stream: AsyncAnswerStream) -> Chunk:
                return reply.chunk([deltas.of_piece(piece, stream.partial)])

            def last(answer: Answer) -> list[Chunk]:
                return [reply.chunk([choice]) for choice in deltas.last(answer)]

            role = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
            await self._stream(conversation, options, request.wants_usage, reply, send, of_piece, last, [role])

    async def completion(self, request: CompletionRequest, send: Send) -> None:
        options, reply, prompts = request.options(), Reply("text_completion", self._name), request.prompts
        if request.stream and len(prompts) > 1:
            raise RefusedError(400, "invalid_request_error", "one prompt at a time can be streamed")
        async with self._turns.turn():
            for prompt in prompts:
                await self._check_length(prompt, options)
            if not request.stream:
                await _send_json(send, reply.whole(*[await self._whole(prompt, options) for prompt in prompts]))
                return

            def of_piece(piece: Piece, _: AsyncAnswerStream) -> Chunk:
                wrote = {"author": piece.author, "text": piece.text}
                return reply.chunk([{"index": 0, "text": piece.text, "finish_reason": None, "nudging": wrote}])

            def last(answer: Answer) -> list[Chunk]:
                return [reply.chunk([{"index": 0, "text": "", "finish_reason": finish_reason(answer)}])]

            await self._stream(prompts[0], options, request.wants_usage, reply, send, of_piece, last, [])

    async def _whole(self, prompt: Prompt, options: Options) -> Answer:
        async with aclosing(self._pieces(prompt, options)) as pieces:
            seen = [stream async for _, stream in pieces]
        return seen[-1].answer

    async def _stream(
        self,
        prompt: Prompt,
        options: Options,
        wants_usage: bool,
        reply: Reply,
        send: Send,
        of_piece: Callable[[Piece, AsyncAnswerStream], Chunk],
        last: Callable[[Answer], list[Chunk]],
        opening: list[Chunk],
    ) -> None:
        """Send an answer as it comes. What fails before its first piece is said with a status, later in the stream."""
        events = _Events(send)
        try:
            async with aclosing(self._pieces(prompt, options)) as pieces:
                async for piece, stream in pieces:
                    if opening:
                        await events.send(reply.chunk([opening.pop()]))
                    if piece:
                        await events.send(of_piece(piece, stream))
            for chunk in last(stream.answer):
                await events.send(chunk)
            if wants_usage:
                await events.send(reply.chunk([], usage=usage(stream.answer)))
            await events.end("[DONE]")
        except NudgingError as error:
            if not events.begun:
                raise
            await events.end(json.dumps(refused(error).body()))

    async def _pieces(
        self, prompt: Prompt, options: Options
    ) -> AsyncGenerator[tuple[Piece | None, AsyncAnswerStream], None]:
        """The pieces of an answer, and None once after the last, beside the stream that they come from."""
        started, first = time.monotonic(), None
        async with self._nudger.astream(prompt, **options) as stream:
            try:
                async for piece in stream:
                    first = first or time.monotonic()
                    yield piece, stream
                yield None, stream
            finally:
                self._metrics.answered(stream.answer, started, first)

    async def _check_length(self, prompt: Prompt, options: Options) -> None:
        most = self._limits.prompt_tokens
        if most is None:
            return
        tokens = await in_thread(lambda: self._nudger.count_tokens(prompt, **options))
        if tokens > most:
            message = f"the prompt is {tokens} tokens long, and may have {most} here: shorten it"
            raise RefusedError(400, "invalid_request_error", message, code="context_length_exceeded")


class _WhileListening(Response):
    """A response that is worked on while the client listens, and no longer.

    The work doesn't wait for the client to read: an answer is short, and a place among the running ones is dear.
    """

    def __init__(self, work: Callable[[Send], Awaitable[None]]) -> None:
        super().__init__()
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        messages: asyncio.Queue[Message | None] = asyncio.Queue()

        async def work() -> None:
            try:
                await self._work(messages.put)
            finally:
                messages.put_nowait(None)

        working = asyncio.ensure_future(work())
        writing = asyncio.ensure_future(_written(messages, send))
        leaving = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
                await working
        finally:
            for task in (working, writing, leaving):
                task.cancel()
            await asyncio.gather(working, writing, leaving, return_exceptions=True)


class _Events:
    """Server-sent events."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def send(self, chunk: Mapping[str, Any]) -> None:
        await self._write(json.dumps(chunk, ensure_ascii=False), more=True)

    async def end(self, text: str) -> None:
        await self._write(text, more=False)

    async def _write(self, text: str, *, more: bool) -> None:
        if not self.begun:
            self.begun = True
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        # a character that is none of Unicode's is escaped rather than failed on
        body = f"data: {text}\n\n".encode(errors="backslashreplace")
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


class _Counted:
    """ASGI middleware that counts responses."""

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: Any) -> None:
            if message["type"] == "http.response.start":
                route = scope.get("route")
                path = getattr(route, "path", "other")
                self._metrics.responses.labels(path, message["status"]).inc()
            await send(message)

        await self._app(scope, receive, counting)


async def _written(messages: "asyncio.Queue[Message | None]", send: Send) -> None:
    while message := await messages.get():
        await send(message)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_json(send: Send, body: Mapping[str, Any]) -> None:
    response = JSONResponse(body)
    await send({"type": "http.response.start", "status": 200, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body})


def _say_errors_as_openai_does(app: FastAPI) -> None:
    @app.exception_handler(RefusedError)
    async def _(_: Request, error: RefusedError) -> Response:
        return refusal(error)

    @app.exception_handler(NudgingError)
    async def _(_: Request, error: NudgingError) -> Response:
        return refusal(refused(error))

    @app.exception_handler(RequestValidationError)
    async def _(_: Request, error: RequestValidationError) -> Response:
        problems = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        return refusal(RefusedError(400, "invalid_request_error", problems))

    @app.exception_handler(UnicodeError)
    async def _(_: Request, error: UnicodeError) -> Response:
        return refusal(RefusedError(400, "invalid_request_error", f"the request has text that is no Unicode: {error}"))

    @app.exception_handler(HTTPException)
    async def _(_: Request, error: HTTPException) -> Response:
        response = refusal(RefusedError(error.status_code, "invalid_request_error", str(error.detail)))
        response.headers.update(error.headers or {})  # which methods are allowed, say
        return response
