"""What goes wrong, in OpenAI's shape and with the right status."""

from typing import Any

from starlette.responses import JSONResponse

from nudging.errors import ContextLengthError, ModelError, NudgingError, ServerError


class RefusedError(Exception):
    """A request that is not answered.

    Args:
        status: Of HTTP.
        kind: As OpenAI calls such errors.
        message: For people.
        code: For programs.
    """

    def __init__(self, status: int, kind: str, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.code = status, kind, message, code

    def body(self) -> dict[str, Any]:
        """What is sent."""
        return {"error": {"message": self.message, "type": self.kind, "param": None, "code": self.code}}


def refusal(error: RefusedError) -> JSONResponse:
    """The response that says so."""
    headers = {"retry-after": "1"} if error.status == 429 else {}
    if error.status in (408, 413):
        headers["connection"] = "close"
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error.body(), status_code=error.status, headers=headers)


def refused(error: NudgingError) -> RefusedError:
    """What the engine refuses, and what its models fail with."""
    if isinstance(error, ContextLengthError):
        return RefusedError(400, "invalid_request_error", str(error), code="context_length_exceeded")
    if isinstance(error, ServerError):
        return RefusedError(502, "server_error", str(error), code="model_server_failed")
    if isinstance(error, ModelError):
        return RefusedError(503, "server_error", str(error), code="model_unavailable")
    return RefusedError(400, "invalid_request_error", str(error))
