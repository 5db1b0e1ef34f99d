"""The application: the endpoints of OpenAI's API, a health check, metrics and a chat page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.middleware.cors import CORSMiddleware

from nudging.nudger import Nudger
from nudging.serving.access_log import RequestRecorder
from nudging.serving.answering import AnswerService
from nudging.serving.chat_completions.reply import ChatChunk, ChatFormat, ChatReply
from nudging.serving.chat_completions.request import ChatRequest
from nudging.serving.completions.reply import CompletionChunk, CompletionFormat, CompletionReply
from nudging.serving.completions.request import CompletionRequest
from nudging.serving.cors import cors_options
from nudging.serving.errors import ERROR_RESPONSES, ApiError, add_error_handlers
from nudging.serving.guard import RequestGuard
from nudging.serving.head import HeadRequests
from nudging.serving.keys import ApiKey, KeyRing, all_keys
from nudging.serving.limits import Limits
from nudging.serving.models import ModelCard, ModelList, card_of
from nudging.serving.published import publish_chunks, responses_of
from nudging.serving.responses.recent import RecentItems
from nudging.serving.responses.reply import ResponseReply, ResponsesEvent, ResponsesFormat
from nudging.serving.responses.request import ResponsesRequest

PAGE = Path(__file__).parent / "page"
"""The files of the chat page."""


def create_app(
    nudger: Nudger,
    *,
    name: str = "nudged",
    limits: Limits | None = None,
    api_key: str | None = None,
    api_keys: Mapping[str, ApiKey] | None = None,
    cors_origins: Sequence[str] = (),
) -> FastAPI:
    """Return a server of one pair, as an ASGI application.

    Args:
        nudger: The nudger. Its settings are the defaults of all requests.
        name: The model's name for clients.
        limits: The limits of the server.
        api_key: The bearer token that clients must send. Without a key, every client is served.
        api_keys: Several bearer tokens, by name, each with its limits.
        cors_origins: The origins whose web pages may send requests, such as "http://localhost:3000", or "*" for all.

    Raises:
        SettingsError: A key or an origin is not valid.
    """
    limits = limits or Limits()
    service = AnswerService(nudger, limits)
    card = card_of(nudger, name)
    app = FastAPI(title="nudging", docs_url=None, redoc_url=None)
    _add_middleware(app, service, limits, KeyRing(all_keys(api_key, api_keys or {})), cors_origins)
    add_error_handlers(app)

    _add_answers(app, service, card)
    _add_models(app, card)
    _add_state_and_page(app, service)
    publish_chunks(app)
    return app


def _check_model(name: str | None, card: ModelCard) -> None:
    if name not in (None, card.id):
        raise ApiError(404, f"there is no model {name!r}: use {card.id!r}", code="model_not_found")


def _add_answers(app: FastAPI, service: AnswerService, card: ModelCard) -> None:
    recent = RecentItems()

    @app.post("/v1/chat/completions", response_model=ChatReply, responses=responses_of(ChatChunk))
    async def chat_completions(request: ChatRequest) -> Response:
        _check_model(request.model, card)
        return service.respond(request, ChatFormat(card.id, request.n or 1, request.include_usage))

    @app.post("/v1/completions", response_model=CompletionReply, responses=responses_of(CompletionChunk))
    async def completions(request: CompletionRequest) -> Response:
        _check_model(request.model, card)
        return service.respond(request, CompletionFormat(card.id, request.n or 1, request.include_usage))

    @app.post("/v1/responses", response_model=ResponseReply, responses=responses_of(ResponsesEvent))
    async def responses(request: ResponsesRequest) -> Response:
        _check_model(request.model, card)
        request.input = recent.resolved(request.input)
        return service.respond(request, ResponsesFormat(card, request, recent))

    @app.api_route("/v1/responses/{response}", methods=["GET", "DELETE"], include_in_schema=False)
    async def stored_response(response: str) -> None:
        raise ApiError(404, f"responses are not stored here, and there is none with the id {response:.60}")


def _add_models(app: FastAPI, card: ModelCard) -> None:
    @app.get("/v1/models", responses=ERROR_RESPONSES)
    async def models() -> ModelList:
        return ModelList(data=[card])

    @app.get("/v1/models/{model:path}", responses=ERROR_RESPONSES)
    async def model(model: str) -> ModelCard:
        _check_model(model, card)
        return card


def _add_state_and_page(app: FastAPI, service: AnswerService) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", response_class=FileResponse)
    async def page() -> Path:
        return PAGE / "index.html"

    app.mount("/page", StaticFiles(directory=PAGE))


def _add_middleware(
    app: FastAPI, service: AnswerService, limits: Limits, keys: KeyRing, cors_origins: Sequence[str]
) -> None:
    """Add the middleware of all endpoints, from the innermost to the outermost."""
    app.add_middleware(HeadRequests)
    app.add_middleware(RequestGuard, limits=limits, keys=keys)
    app.add_middleware(RequestRecorder, metrics=service.metrics)
    if cors_origins:  # outside, so that a preflight needs no key and errors have the headers
        app.add_middleware(CORSMiddleware, **cors_options(cors_origins))
