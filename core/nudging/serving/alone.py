"""The stream of one model of the pair that answers by itself, for comparison."""

from collections.abc import AsyncIterator
from threading import Event

from typing_extensions import Self

from nudging._logging import log_once
from nudging._threads import in_thread
from nudging.answer import Answer, Author, ModelUsage, Piece, Usage
from nudging.evaluation.single_model import stream_alone
from nudging.nudger import Nudger
from nudging.serving.requests import Call
from nudging.tools.streaming import PartialAnswer


class AloneStream:
    """An `AsyncAnswerStream` of one model, without a grammar and without tools."""

    def __init__(self, nudger: Nudger, author: Author, call: Call) -> None:
        if given := [name for name in ("schema", "tools") if call.options.get(name)]:
            log_once(f"a model that answers alone does not follow the request's {' and '.join(given)}")
        self._cancelled = Event()
        self._pieces = stream_alone(nudger, author, call.prompt, cancelled=self._cancelled, **call.options)
        unused = ModelUsage()
        self.answer = Answer((), None, Usage(0, 0, unused, unused))

    @property
    def partial(self) -> PartialAnswer:
        """The text so far."""
        return PartialAnswer(self.answer.text)

    def __aiter__(self) -> AsyncIterator[Piece]:
        return self

    async def __anext__(self) -> Piece:
        piece = await in_thread(self._next)
        if piece is None:
            raise StopAsyncIteration
        return piece

    def _next(self) -> Piece | None:
        try:
            piece = next(self._pieces)
        except StopIteration as finished:
            self.answer = finished.value
            return None
        self.answer = Answer((*self.answer.pieces, piece), None, self.answer.usage)
        return piece

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._cancelled.set()
        await in_thread(self._pieces.close)
