"""Answer requests: wait for a slot, decode, and send the answer whole or as a stream."""

import json
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.responses import Response
from starlette.types import Send

from nudging._threads import in_thread
from nudging.answer import Answer, Piece
from nudging.errors import NudgingError
from nudging.nudger import Nudger
from nudging.prompting.conversation import Prompt
from nudging.request import Options
from nudging.serving.errors import ApiError
from nudging.serving.limits import ConcurrencyLimiter, Limits
from nudging.serving.metrics import Metrics
from nudging.serving.replies import ReplyFormat
from nudging.serving.requests import Request
from nudging.serving.responses import CancellableResponse, EventStream, send_json
from nudging.tools.streaming import PartialAnswer

OnPiece: TypeAlias = Callable[[Piece, PartialAnswer], Awaitable[None]]


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

    def respond(self, request: Request, reply: ReplyFormat) -> Response:
        """Return the response to a request. The answer is decoded while the response is being sent."""
        return CancellableResponse(lambda send: self._answer(request, reply, send))

    async def _answer(self, request: Request, reply: ReplyFormat, send: Send) -> None:
        prompts, options = request.prompts, request.options()
        if request.stream and len(prompts) > 1:
            raise ApiError(400, f"{len(prompts)} prompts cannot be streamed: send one prompt per streamed request")
        async with self._limiter.slot():
            for prompt in prompts:
                await self._check_length(prompt, options)
            if request.stream:
                await self._stream(prompts[0], options, request.include_usage, reply, send)
            else:
                answers = [await self._decode(prompt, options) for prompt in prompts]
                await send_json(send, reply.whole(answers))

    async def _stream(
        self, prompt: Prompt, options: Options, include_usage: bool, reply: ReplyFormat, send: Send
    ) -> None:
        """Send an answer piece by piece. Once the stream has started, an error is sent as its last event."""
        events = EventStream(send)

        async def send_piece(piece: Piece, partial: PartialAnswer) -> None:
            for chunk in reply.piece_chunks(piece, partial):
                await events.send(chunk)

        try:
            answer = await self._decode(prompt, options, send_piece)
            for chunk in reply.last_chunks(answer, include_usage):
                await events.send(chunk)
            await events.end("[DONE]")
        except NudgingError as error:
            if not events.started:
                raise
            await events.end(json.dumps(ApiError.from_engine(error).body()))

    async def _decode(self, prompt: Prompt, options: Options, on_piece: OnPiece | None = None) -> Answer:
        """Return the answer to a prompt, and record its metrics.

        Args:
            prompt: The prompt.
            options: The options of the call.
            on_piece: Called with each new piece and the answer so far.
        """
        started, first_text = time.monotonic(), None
        async with self._nudger.astream(prompt, **options) as stream:
            try:
                async for piece in stream:
                    first_text = first_text or time.monotonic()
                    if on_piece:
                        await on_piece(piece, stream.partial)
            finally:
                self.metrics.record(stream.answer, started, first_text)
        return stream.answer

    async def _check_length(self, prompt: Prompt, options: Options) -> None:
        limit = self._limits.prompt_tokens
        if limit is None:
            return
        tokens = await in_thread(lambda: self._nudger.count_tokens(prompt, **options))
        if tokens > limit:
            message = f"the prompt has {tokens} tokens, more than this server's limit of {limit}: shorten it"
            raise ApiError(400, message, code="context_length_exceeded")
