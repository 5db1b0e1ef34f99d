"""The engine's errors as LangChain's own, so that middleware knows which to retry and which to summarize away.

What leaves this package is an instance of both: a prompt that is too long is the engine's `ContextLengthError` and
LangChain's `ContextOverflowError`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

from langchain_core import exceptions
from nudging import ContextLengthError, ModelNotFoundError, NudgingError, PromptError, ServerError, SettingsError
from nudging.errors import UnsupportedModelError

OF_ENGINE: dict[type[NudgingError], str] = {
    ContextLengthError: "ContextOverflowError",
    PromptError: "ModelInvalidRequestError",
    SettingsError: "ModelInvalidRequestError",
    UnsupportedModelError: "ModelInvalidRequestError",
    ModelNotFoundError: "ModelNotFoundError",
}
"""LangChain's error for each error of the engine; subclasses first. Any other one is a `ModelError`."""

OF_STATUS = {
    None: "ModelConnectionError",
    401: "ModelAuthenticationError",
    403: "ModelPermissionDeniedError",
    404: "ModelNotFoundError",
    408: "ModelTimeoutError",
    429: "ModelRateLimitError",
}
"""LangChain's error for a server's HTTP status."""


@contextmanager
def langchain_errors() -> Iterator[None]:
    """Raise the engine's errors as LangChain's too. The error keeps its message, its attributes and its cause."""
    try:
        yield
    except NudgingError as error:
        translated = _translated(type(error), _counterpart(error), error.args, error.__dict__)
        raise translated.with_traceback(error.__traceback__) from error.__cause__


def _counterpart(error: NudgingError) -> str:
    if isinstance(error, ServerError):
        status = error.status
        return OF_STATUS.get(status) or ("ModelAPIError" if status and status >= 500 else "ModelInvalidRequestError")
    return next((name for kind, name in OF_ENGINE.items() if isinstance(error, kind)), "ModelError")


def _translated(kind: Any, name: str, args: tuple[Any, ...], attributes: dict[str, Any]) -> NudgingError:
    error = _both(kind, name)(*args)
    error.__dict__.update(attributes)
    return error


@cache
def _both(kind: Any, name: str) -> type[NudgingError]:
    """Return a class of errors that are the engine's and LangChain's. Older versions of LangChain lack some."""
    if issubclass(kind, exceptions.LangChainException):  # translated by an inner call
        return cast("type[NudgingError]", kind)
    langchain: Any = getattr(exceptions, name, None) or getattr(exceptions, "ModelError", exceptions.LangChainException)
    return type(
        kind.__name__,
        (kind, langchain),
        {
            "__module__": kind.__module__,
            "__doc__": kind.__doc__,
            "__reduce__": lambda error: (_translated, (kind, name, error.args, error.__dict__)),  # for pickle
        },
    )
