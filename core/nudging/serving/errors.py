"""Errors in OpenAI's JSON shape, each with its HTTP status."""

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from openai.types import ErrorObject
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from nudging.errors import ContextLengthError, ModelError, NudgingError, ServerError, UnsupportedModelError
from nudging.serving.problems import sentences, unreadable


class ErrorReply(BaseModel):
    """An error, as OpenAI sends it."""

    error: ErrorObject


ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "model": ErrorReply}
    for status, description in {
        400: "The request is invalid",
        401: "The API key is missing or wrong",
        404: "There is no such model",
        408: "The client did not send the whole request in time",
        413: "The request is too large",
        429: "Too many requests are waiting",
        502: "A model's server failed",
        503: "A model cannot be used",
    }.items()
}
"""The errors of an endpoint, for the OpenAPI schema."""


class ApiError(Exception):
    """An error that is sent to the client.

    Args:
        status: The HTTP status.
        message: The explanation for people.
        kind: OpenAI's type of such errors.
        code: A short name for programs, for example "model_not_found".
        param: The field of the request that is wrong.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.code, self.param = status, message, kind, code, param

    @classmethod
    def from_engine(cls, error: NudgingError) -> "ApiError":
        """Return the error that tells a client about an error of the engine."""
        if isinstance(error, ContextLengthError):
            return cls.context_length(str(error))
        if isinstance(error, ServerError):
            return cls(502, str(error), kind="server_error", code="model_server_failed")
        if isinstance(error, UnsupportedModelError):  # what the request asks for: its log-probabilities, its rule
            return cls(400, str(error), code="unsupported")
        if isinstance(error, ModelError):
            return cls(503, str(error), kind="server_error", code="model_unavailable")
        return cls(400, str(error))

    @classmethod
    def context_length(cls, message: str) -> "ApiError":
        """Return the error of a prompt that is too long, with the words of OpenAI's that clients look for."""
        return cls(400, f"this model's maximum context length is exceeded: {message}", code="context_length_exceeded")

    def body(self) -> dict[str, Any]:
        """Return the error as OpenAI's JSON."""
        error = ErrorObject(message=self.message, type=self.kind, param=self.param, code=self.code)
        return ErrorReply(error=error).model_dump(exclude_unset=True)

    def response(self) -> JSONResponse:
        """Return the HTTP response for this error."""
        headers = {}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        if self.status == 429:
            headers["retry-after"] = "1"
        if self.status in (408, 413):  # the rest of the request is not read
            headers["connection"] = "close"
        return JSONResponse(self.body(), status_code=self.status, headers=headers)


def add_error_handlers(app: FastAPI) -> None:
    """Let an application answer every error in OpenAI's shape."""

    @app.exception_handler(ApiError)
    async def _(_: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(NudgingError)
    async def _(_: Request, error: NudgingError) -> Response:
        return ApiError.from_engine(error).response()

    @app.exception_handler(RequestValidationError)
    async def _(_: Request, error: RequestValidationError) -> Response:
        fields, problems = zip(*sentences(error.errors(), error.body), strict=True)
        return ApiError(400, "; ".join(problems), param=fields[0] or None).response()

    @app.exception_handler(UnicodeError)
    async def _(_: Request, error: UnicodeError) -> Response:
        return ApiError(400, f"the request contains text that is not valid Unicode: {error}").response()

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        response = ApiError(error.status_code, _detail(request, error)).response()
        response.headers.update(error.headers or {})  # for example the allowed methods
        return response


def _detail(request: Request, error: HTTPException) -> str:
    """Return a sentence about an error of the framework."""
    path = request.url.path
    match error.status_code:
        case 400:
            return unreadable(error.__cause__)
        case 404:
            return f"there is no {path!r:.100}: the endpoints are listed at /openapi.json"
        case 405:
            return f"{path!r} cannot be asked with {request.method}: use {(error.headers or {}).get('Allow')}"
    return str(error.detail)
