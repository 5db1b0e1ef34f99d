"""The application: the endpoints of OpenAI's API, a health check, metrics and a chat page."""

import time
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from openai.types import Model

from nudging.nudger import Nudger
from nudging.serving.answering import AnswerService
from nudging.serving.errors import ERROR_RESPONSES, ApiError, add_error_handlers
from nudging.serving.limits import Limits, RequestGuard
from nudging.serving.metrics import ResponseCounter
from nudging.serving.replies import ChatFormat, CompletionFormat
from nudging.serving.reply_types import ChatReply, CompletionReply, ModelList
from nudging.serving.requests import ChatRequest, CompletionRequest

RESPONSES: dict[int | str, dict[str, Any]] = {**ERROR_RESPONSES, 200: {"content": {"text/event-stream": {}}}}


def create_app(
    nudger: Nudger, *, name: str = "nudged", limits: Limits | None = None, api_key: str | None = None
) -> FastAPI:
    """Return a server of one pair, as an ASGI application.

    Args:
        nudger: The nudger. Its settings are the defaults of all requests.
        name: The model's name for clients.
        limits: The limits of the server.
        api_key: The bearer token that clients must send. Without one, every client is served.
    """
    limits = limits or Limits()
    service = AnswerService(nudger, limits)
    card = Model(id=name, object="model", created=int(time.time()), owned_by="nudging")
    app = FastAPI(title="nudging", docs_url=None, redoc_url=None)
    app.add_middleware(RequestGuard, limits=limits, api_key=api_key)
    app.add_middleware(ResponseCounter, metrics=service.metrics)
    add_error_handlers(app)

    def check_model(model: str | None) -> None:
        if model not in (None, name):
            raise ApiError(404, f"there is no model {model!r}: use {name!r}", code="model_not_found")

    @app.post("/v1/chat/completions", response_model=ChatReply, responses=RESPONSES)
    async def chat_completions(request: ChatRequest) -> Response:
        check_model(request.model)
        return service.respond(request, ChatFormat(name))

    @app.post("/v1/completions", response_model=CompletionReply, responses=RESPONSES)
    async def completions(request: CompletionRequest) -> Response:
        check_model(request.model)
        return service.respond(request, CompletionFormat(name))

    @app.get("/v1/models", responses=ERROR_RESPONSES)
    async def models() -> ModelList:
        return ModelList(data=[card])

    @app.get("/v1/models/{model:path}", responses=ERROR_RESPONSES)
    async def model(model: str) -> Model:
        check_model(model)
        return card

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", response_class=HTMLResponse)
    async def page() -> str:
        return (files("nudging.serving") / "page.html").read_text(encoding="utf-8")

    return app
