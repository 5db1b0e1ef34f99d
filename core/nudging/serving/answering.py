"""Answer requests: wait for a slot, decode, and send the answers whole or as a stream."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TypeAlias

from starlette.responses import Response
from starlette.types import Send

from nudging._threads import in_thread
from nudging.answer import Answer, Author, Piece, TokenLogprob
from nudging.errors import NudgingError
from nudging.nudger import Nudger
from nudging.scorer import Scorer
from nudging.serving.alone import AloneStream
from nudging.serving.errors import ApiError
from nudging.serving.limits import ConcurrencyLimiter, Limits
from nudging.serving.metrics import Metrics
from nudging.serving.replies import ReplyFormat
from nudging.serving.requests import Call, GenerationRequest
from nudging.serving.sending import CancellableResponse, EventStream, send_json
from nudging.stream import AsyncAnswerStream
from nudging.tools.streaming import PartialAnswer

OnPiece: TypeAlias = Callable[[int, Piece, PartialAnswer, Sequence[TokenLogprob] | None], Awaitable[None]]
OnEnd: TypeAlias = Callable[[int, Answer], Awaitable[None]]


class AnswerService:
    """Answers the requests to one server.

    Args:
        nudger: The nudger. Its settings are the defaults of all requests.
        limits: The limits of the server.
    """

    def __init__(self, nudger: Nudger, limits: Limits) -> None:
        self._nudger, self._limits = nudger, limits
        self._limiter = ConcurrencyLimiter(limits)
        self.metrics = Metrics(self._limiter)

    def respond(self, request: GenerationRequest, reply: ReplyFormat) -> Response:
        """Return the response to a request. The answers are decoded while the response is being sent."""
        answer = self._stream if request.stream else self._answer
        return CancellableResponse(lambda send: answer(request, reply, send))

    async def _answer(self, request: GenerationRequest, reply: ReplyFormat, send: Send) -> None:
        await send_json(send, reply.whole(await self._answers(request)))

    async def _stream(self, request: GenerationRequest, reply: ReplyFormat, send: Send) -> None:
        """Send the answers piece by piece. Once the stream has started, an error is sent as its last event."""

        async def on_piece(
            index: int, piece: Piece, partial: PartialAnswer, logprobs: Sequence[TokenLogprob] | None
        ) -> None:
            await events.send(reply.piece(index, piece, partial, logprobs))

        async def on_end(index: int, answer: Answer) -> None:
            await events.send(reply.end_of(index, answer))

        async with EventStream(send, self._limits.keep_alive) as events:
            try:
                answers = await self._answers(request, on_piece, on_end)
                await events.end(reply.end(answers))
            except (NudgingError, ApiError) as error:
                if not events.started:
                    raise
                await events.end(reply.failed(error if isinstance(error, ApiError) else ApiError.from_engine(error)))

    async def _answers(
        self, request: GenerationRequest, on_piece: OnPiece | None = None, on_end: OnEnd | None = None
    ) -> list[Answer]:
        """Return all answers to a request. They are decoded at the same time, as far as slots are free."""
        calls = list(request.calls)
        answers: dict[int, Answer] = {}
        waiting = deque(enumerate(calls))

        async def work() -> None:
            while waiting:
                index, call = waiting.popleft()
                answers[index] = await self._decode(index, call, request, on_piece)
                if on_end:
                    await on_end(index, answers[index])

        async with AsyncExitStack() as slots:
            await slots.enter_async_context(self._limiter.slot())
            for number, call in enumerate(calls):
                if number == 0 or call.prompt is not calls[number - 1].prompt:  # the answers to one prompt share it
                    await self._check_length(call)
            workers = 1
            while workers < len(calls) and self._limiter.has_free_slot:
                await slots.enter_async_context(self._limiter.slot())
                workers += 1
            working = [asyncio.ensure_future(work()) for _ in range(workers)]
            try:
                await asyncio.gather(*working)
            finally:
                for unfinished in working:
                    unfinished.cancel()
                await asyncio.gather(*working, return_exceptions=True)
        return [answers[index] for index in range(len(calls))]

    async def _decode(self, index: int, call: Call, request: GenerationRequest, on_piece: OnPiece | None) -> Answer:
        """Return an answer, and record its metrics.

        Args:
            index: The number of the answer.
            call: The call.
            request: The request that it belongs to.
            on_piece: Called with each new piece.
        """
        scored: list[TokenLogprob] = []
        async with AsyncExitStack() as opened:
            scorer = await self._scorer(call, request.alternatives)
            if scorer:
                opened.callback(scorer.close)
            stream: AsyncAnswerStream | AloneStream
            stream = await opened.enter_async_context(self._open(call, request.alone))
            recorder = opened.enter_context(self.metrics.recorded(stream))
            async for piece in stream:
                recorder.note_text()
                if on_piece:
                    logprobs = await in_thread(scorer.score, piece.text) if scorer else None
                    scored += logprobs or ()
                    await on_piece(index, piece, stream.partial, logprobs)
            if scorer and not on_piece:
                scored = await in_thread(scorer.score, stream.answer.text)
        return replace(stream.answer, logprobs=tuple(scored)) if scorer else stream.answer

    async def _scorer(self, call: Call, alternatives: int | None) -> Scorer | None:
        if alternatives is None:
            return None
        return await in_thread(lambda: self._nudger.scorer(call.prompt, alternatives, **call.options))

    def _open(self, call: Call, alone: Author | None) -> AsyncAnswerStream | AloneStream:
        if alone:
            return AloneStream(self._nudger, alone, call)
        return self._nudger.astream(call.prompt, **call.options)

    async def _check_length(self, call: Call) -> None:
        limit = self._limits.prompt_tokens
        if limit is None:
            return
        tokens = await in_thread(lambda: self._nudger.count_tokens(call.prompt, **call.options))
        if tokens > limit:
            raise ApiError.context_length(
                f"the prompt has {tokens} tokens, more than this server's limit of {limit}: shorten it"
            )
