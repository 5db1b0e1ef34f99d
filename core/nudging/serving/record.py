"""The record of one request: what the access log and the metrics say about it. It has no text of the request."""

import re
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from secrets import token_hex
from typing import Any, Literal, TypeAlias

from starlette.routing import Match
from starlette.types import Scope

from nudging.answer import Answer

Ending: TypeAlias = Literal["stop", "length", "loop", "tool_calls", "disconnected", "error"]
"""The reason why an answer ended."""

PATH_LENGTH = 200
"""Maximum number of characters of a path in the log."""


@dataclass
class RequestRecord:
    """A request and its answers so far.

    Args:
        scope: The request, as ASGI describes it.
        id: The request id, in the response's header and in the log.
        key: The name of the client's API key.
        status: The HTTP status, None before the response starts.
        is_complete: True if the whole response has been sent.
        first_text: Seconds from the start of the request to the first text of an answer.
        prompt_tokens: Length of all prompts, in base-model tokens.
        completion_tokens: Length of all answers, in base-model tokens.
        nudging_tokens: The part of them that the nudging model wrote.
        endings: The endings of the answers, in order.
    """

    scope: Scope
    id: str
    key: str | None = None
    status: int | None = None
    is_complete: bool = False
    first_text: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    nudging_tokens: int = 0
    endings: list[Ending] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._root_path = self.scope.get("root_path", "")

    @property
    def seconds(self) -> float:
        """The number of seconds since the request came."""
        return time.monotonic() - self._started

    @property
    def total_tokens(self) -> int:
        """The length of all prompts and answers together, in base-model tokens."""
        return self.prompt_tokens + self.completion_tokens

    @cached_property
    def endpoint(self) -> str:
        """The path of the endpoint, with its parameters' names: "/v1/models/{model}"; "other" if there is none."""
        scope = {**self.scope, "root_path": self._root_path}  # a mount changes it
        routes = (one for one in scope["app"].routes if one.matches(scope)[0] is not Match.NONE)
        return getattr(scope.get("route") or next(routes, None), "path", "other")

    @property
    def ending(self) -> str | None:
        """The endings of the answers; of a request without an answer, "error", "disconnected" or None."""
        if self.endings:
            return ",".join(dict.fromkeys(self.endings))
        if self.status and self.status >= 400:
            return "error"
        return None if self.is_complete else "disconnected"

    def note_text(self) -> None:
        """Note that an answer has text. The first call counts."""
        if self.first_text is None:
            self.first_text = self.seconds

    def add(self, answer: Answer, ending: Ending) -> None:
        """Add an answer that is complete or was abandoned."""
        self.endings.append(ending)
        self.prompt_tokens += answer.usage.prompt_tokens
        self.completion_tokens += answer.usage.completion_tokens
        self.nudging_tokens += sum(piece.tokens for piece in answer.pieces if piece.author == "nudging")

    def fields(self) -> dict[str, Any]:
        """Return the fields of the access log. Fields without a value are left out."""
        fields: dict[str, Any] = {
            "request_id": self.id,
            "client": self.scope["client"][0] if self.scope.get("client") else None,
            "key": self.key,
            "method": self.scope["method"],
            "path": self.scope["path"][:PATH_LENGTH],
            "status": self.status,
            "seconds": round(self.seconds, 4),
            "ending": self.ending,
        }
        if self.endings:
            fields |= {
                "first_text_seconds": None if self.first_text is None else round(self.first_text, 4),
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": self.completion_tokens,
                "nudge_ratio": round(self.nudging_tokens / self.completion_tokens, 4) if self.completion_tokens else 0,
            }
        return {name: value for name, value in fields.items() if value is not None}


current_record: ContextVar[RequestRecord | None] = ContextVar("current_record", default=None)
"""The record of the request that is being answered in this task or thread."""


def request_id(given: str | None) -> str:
    """Return the request id that the client gave if it is short and plain, else a new one."""
    return given if given and re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", given) else f"req_{token_hex(16)}"
