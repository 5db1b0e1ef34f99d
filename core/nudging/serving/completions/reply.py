"""Answers as replies of `/v1/completions`."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Literal

from openai.types import Completion, CompletionUsage, completion_choice

from nudging.answer import Answer, Piece, TokenLogprob
from nudging.serving.authorship import AuthoredText, Authorship
from nudging.serving.replies import CompletionsFormat, finite
from nudging.serving.sending import Event
from nudging.tools.streaming import PartialAnswer


class CompletionChoice(completion_choice.CompletionChoice):
    nudging: Authorship


class CompletionReply(Completion):
    """The reply to a completion request: OpenAI's, with the authors of each answer."""

    choices: list[CompletionChoice]  # type: ignore[assignment]  # narrower than OpenAI's, as in the other replies


class CompletionChunkChoice(completion_choice.CompletionChoice):
    finish_reason: Literal["stop", "length"] | None  # type: ignore[assignment]  # None until the last chunk
    nudging: AuthoredText | None = None


class CompletionChunk(Completion):
    """A part of a streamed completion: OpenAI's, with the author of the new text."""

    choices: list[CompletionChunkChoice]  # type: ignore[assignment]


class CompletionFormat(CompletionsFormat):
    """The format of `/v1/completions`."""

    id_prefix = "cmpl"

    def __init__(self, model: str, n: int, include_usage: bool) -> None:
        super().__init__(model, n, include_usage)
        self._lengths: defaultdict[int, int] = defaultdict(int)  # of the text that was sent of each answer

    def whole(self, answers: Sequence[Answer]) -> CompletionReply:
        choices = [
            CompletionChoice(
                index=index,
                text=answer.text,
                finish_reason=_finish_reason(answer),
                logprobs=None if answer.logprobs is None else _logprobs(answer.logprobs, start=0),
                nudging=Authorship.of(answer),
            )
            for index, answer in enumerate(answers)
        ]
        return CompletionReply(**self._head, object="text_completion", choices=choices, usage=self._usage(answers))

    def piece(
        self, index: int, piece: Piece, partial: PartialAnswer, logprobs: Sequence[TokenLogprob] | None
    ) -> Iterator[Event]:
        author = AuthoredText(text=piece.text, author=piece.author)
        choice = CompletionChunkChoice(index=index, text=piece.text, finish_reason=None, nudging=author)
        if logprobs is not None:
            choice.logprobs = _logprobs(logprobs, self._lengths[index])
        self._lengths[index] += len(piece.text)
        yield self._chunk(choice)

    def end_of(self, index: int, answer: Answer) -> Iterator[Event]:
        yield self._chunk(CompletionChunkChoice(index=index, text="", finish_reason=_finish_reason(answer)))

    def _usage_chunk(self, usage: CompletionUsage) -> Event:
        return self._chunk(usage=usage)

    def _chunk(self, *choices: CompletionChunkChoice, **fields: Any) -> Event:
        return Event.of(CompletionChunk(**self._head, object="text_completion", choices=list(choices), **fields))


def _finish_reason(answer: Answer) -> Literal["stop", "length"]:
    return "length" if answer.finish_reason == "length" else "stop"


def _logprobs(logprobs: Sequence[TokenLogprob], start: int) -> completion_choice.Logprobs:
    """Return log-probabilities in OpenAI's shape. `start` is the length of the answer's text before these tokens."""
    ends = list(accumulate((len(one.token) for one in logprobs), initial=start))
    listed = [{other.token: finite(other.logprob) for other in one.alternatives} for one in logprobs]
    return completion_choice.Logprobs(
        tokens=[one.token for one in logprobs],
        token_logprobs=[finite(one.logprob) for one in logprobs],
        top_logprobs=listed if any(listed) else None,
        text_offset=ends[:-1],
    )
