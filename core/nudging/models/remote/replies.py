"""Replies of servers in the client of openai: server-sent events, lines of JSON as Ollama sends them, and errors.

A server may answer otherwise than it was asked to: with a whole reply, an error with status 200, or a web page.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import openai

from nudging.errors import UnsupportedModelError
from nudging.models.remote.completion import CutOffError

INVALID = re.compile("invalid|validation|bad.?request", re.IGNORECASE)
"""Types of errors that come again with the same request."""


class ReportedError(Exception):
    """An error that a server reports with status 200, mostly in the middle of a stream.

    Attributes:
        status_code: The HTTP status that it stands for, if the server says so.
    """

    status_code: int | None = None


class Events(openai.Stream[object]):
    """A streamed reply of server-sent events."""

    def __stream__(self) -> Iterator[object]:
        is_empty = True
        try:
            if is_whole(self.response):
                yield parsed(self.response.read())
                return
            for event in self._iter_events():
                is_empty = False
                if event.data.startswith("[DONE]"):
                    return
                if event.data and (chunk := parsed(event.data)) is not None:
                    yield chunk
            if is_empty:
                refuse_page(self.response)
        finally:
            self.response.close()


class AsyncEvents(openai.AsyncStream[object]):
    """`Events` on an event loop."""

    async def __stream__(self) -> AsyncIterator[object]:
        is_empty = True
        try:
            if is_whole(self.response):
                yield parsed(await self.response.aread())
                return
            async for event in self._iter_events():
                is_empty = False
                if event.data.startswith("[DONE]"):
                    return
                if event.data and (chunk := parsed(event.data)) is not None:
                    yield chunk
            if is_empty:
                refuse_page(self.response)
        finally:
            await self.response.aclose()


class Lines(openai.Stream[object]):
    """A streamed reply of lines of JSON."""

    def __stream__(self) -> Iterator[object]:
        try:
            for line in self.response.iter_lines():
                if line.strip():
                    yield parsed_line(line)
        finally:
            self.response.close()


class AsyncLines(openai.AsyncStream[object]):
    """`Lines` on an event loop."""

    async def __stream__(self) -> AsyncIterator[object]:
        try:
            async for line in self.response.aiter_lines():
                if line.strip():
                    yield parsed_line(line)
        finally:
            await self.response.aclose()


def parsed(data: str | bytes) -> object:
    """Return a reply, or a chunk of one, from JSON.

    Raises:
        UnsupportedModelError: It is not JSON.
        ReportedError: It is an error.
    """
    try:
        reply = json.loads(data)
    except ValueError:
        shown = data if isinstance(data, str) else data.decode(errors="replace")
        raise UnsupportedModelError(f"it sends something other than JSON: {shown[:80]!r}") from None
    check_error(reply)
    return reply


def parsed_line(line: str) -> object:
    """Return the object on a line. The last line of a broken connection may be incomplete."""
    try:
        return parsed(line)
    except UnsupportedModelError as error:
        raise CutOffError(str(error)) from None


def check_error(reply: object) -> None:
    """Raise if a reply is an error: an object or a text as `error`, or an object that says so of itself.

    Raises:
        ReportedError: It is one.
    """
    if not isinstance(reply, Mapping) or not (reply.get("error") or reply.get("object") == "error"):
        return
    error = reply.get("error") or reply
    details: Mapping[str, Any] = error if isinstance(error, Mapping) else reply
    reported = ReportedError(str(details.get("message") or error))
    code, kind = details.get("code"), details.get("type") or details.get("error_type")
    if isinstance(code, int):
        reported.status_code = code
    elif INVALID.search(str(kind)):
        reported.status_code = 400
    raise reported


def is_whole(response: Any) -> bool:
    """Return True if a server does not stream its reply, although it was asked to."""
    return bool(response.headers.get("content-type", "").startswith("application/json"))


def refuse_page(response: Any) -> None:
    """Raise if a reply without events is a web page.

    Raises:
        UnsupportedModelError: It is one.
    """
    if "html" in response.headers.get("content-type", ""):
        raise UnsupportedModelError("it answers with a web page. Check that the URL is that of the API")
