"""The base of all endpoints' replies: a reply is whole, or a stream of events."""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

from openai.types import CompletionUsage
from pydantic import BaseModel

from nudging.answer import Answer, Piece, TokenLogprob
from nudging.serving.errors import ApiError
from nudging.serving.sending import Event
from nudging.tools.calls import ToolCall
from nudging.tools.streaming import PartialAnswer, ToolCallDelta

LEAST_LOGPROB = -9999.0
"""The log-probability that OpenAI sends for an impossible token: JSON has no minus infinity."""


class ReplyFormat(ABC):
    """The format of the reply to one request. Only the fields that are set here are sent."""

    @abstractmethod
    def whole(self, answers: Sequence[Answer]) -> BaseModel:
        """Return the reply with all answers."""

    @abstractmethod
    def piece(
        self, index: int, piece: Piece, partial: PartialAnswer, logprobs: Sequence[TokenLogprob] | None
    ) -> Iterator[Event]:
        """Yield the events for a new piece, after those that open the stream.

        Args:
            index: The number of the answer, from 0.
            piece: The piece.
            partial: The answer so far, with this piece.
            logprobs: The log-probabilities of the piece's tokens, if they are wanted.
        """

    @abstractmethod
    def end_of(self, index: int, answer: Answer) -> Iterator[Event]:
        """Yield the events that end an answer."""

    @abstractmethod
    def end(self, answers: Sequence[Answer]) -> Iterator[Event]:
        """Yield the events that end a stream, after all answers."""

    @abstractmethod
    def failed(self, error: ApiError) -> Iterator[Event]:
        """Yield the events that end a stream with an error."""


class CompletionsFormat(ReplyFormat):
    """The base of the formats of `/v1/chat/completions` and `/v1/completions`.

    Args:
        model: The model's name for clients.
        n: The number of answers per prompt.
        include_usage: True if a stream ends with the token counts.
    """

    id_prefix: str

    def __init__(self, model: str, n: int, include_usage: bool) -> None:
        self._head: dict[str, Any] = {
            "id": f"{self.id_prefix}-{uuid4().hex}",
            "created": int(time.time()),
            "model": model,
        }
        self._n, self._include_usage = n, include_usage

    def end(self, answers: Sequence[Answer]) -> Iterator[Event]:
        if self._include_usage:
            yield self._usage_chunk(self._usage(answers))
        yield Event("[DONE]")

    def failed(self, error: ApiError) -> Iterator[Event]:
        yield Event(json.dumps(error.body()))

    @abstractmethod
    def _usage_chunk(self, usage: CompletionUsage) -> Event:
        """Return the chunk of the token counts."""

    def _usage(self, answers: Sequence[Answer]) -> CompletionUsage:
        """Return the token counts of all answers together, in base-model tokens. A prompt counts once."""
        prompt = sum(answer.usage.prompt_tokens for answer in answers[:: self._n])
        completion = sum(answer.usage.completion_tokens for answer in answers)
        return CompletionUsage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)


def finite(logprob: float) -> float:
    """Return a log-probability that JSON can hold."""
    return max(logprob, LEAST_LOGPROB)


def whole_calls(answer: Answer) -> Iterator[ToolCallDelta]:
    """Yield each call of an answer as one delta, for a stream that has held all calls back."""
    for index, call in enumerate(answer.tool_calls):
        yield ToolCallDelta(index, call.name, arguments_of(call))


def arguments_of(call: ToolCall) -> str:
    """Return the arguments of a call as JSON text."""
    return json.dumps(call.arguments, ensure_ascii=False)
