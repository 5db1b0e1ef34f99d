"""Answers as OpenAI's replies, whole or in chunks."""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Literal
from uuid import uuid4

from openai.types import CompletionUsage, chat, completion_choice
from openai.types.chat import chat_completion, chat_completion_chunk
from openai.types.chat.chat_completion_chunk import ChoiceDelta, ChoiceDeltaToolCall, ChoiceDeltaToolCallFunction
from openai.types.chat.chat_completion_message_tool_call import ChatCompletionMessageToolCall, Function
from pydantic import BaseModel

from nudging.answer import Answer, Piece, TokenLogprob
from nudging.serving.reply_types import (
    AuthoredText,
    Authorship,
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatReply,
    CompletionChoice,
    CompletionChunk,
    CompletionChunkChoice,
    CompletionReply,
)
from nudging.tools.calls import ToolCall, new_call_id
from nudging.tools.streaming import DeltaTracker, PartialAnswer, ToolCallDelta


class ReplyFormat(ABC):
    """The format of the reply to one request. Only the fields that are set here are sent.

    Args:
        model: The model's name for clients.
    """

    id_prefix: str

    def __init__(self, model: str) -> None:
        self._head: dict[str, Any] = {
            "id": f"{self.id_prefix}-{uuid4().hex}",
            "created": int(time.time()),
            "model": model,
        }

    @abstractmethod
    def whole(self, answers: Sequence[Answer]) -> BaseModel:
        """Return the reply with all answers."""

    @abstractmethod
    def piece_chunks(self, piece: Piece, partial: PartialAnswer) -> Iterator[BaseModel]:
        """Yield the chunks for a new piece. `partial` is the answer so far, with this piece."""

    @abstractmethod
    def last_chunks(self, answer: Answer, include_usage: bool) -> Iterator[BaseModel]:
        """Yield the chunks that end a streamed answer, with its token counts if `include_usage` is True."""


class ChatFormat(ReplyFormat):
    """The format of `/v1/chat/completions`. A stream holds back text that may be the start of a tool call."""

    id_prefix = "chatcmpl"

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self._sent = DeltaTracker()
        self._started = False

    def whole(self, answers: Sequence[Answer]) -> ChatReply:
        choices = [self._choice(index, answer) for index, answer in enumerate(answers)]
        return ChatReply(**self._head, object="chat.completion", choices=choices, usage=_usage(*answers))

    def piece_chunks(self, piece: Piece, partial: PartialAnswer) -> Iterator[ChatChunk]:
        yield from self._role_chunk()
        delta = ChoiceDelta(content=self._sent.new_content(partial.content))
        if calls := [_tool_call_delta(part) for part in self._sent.new_call_deltas(partial.tool_calls)]:
            delta.tool_calls = calls
        author = AuthoredText(text=piece.text, author=piece.author)
        yield self._chunk(ChatChunkChoice(index=0, delta=delta, finish_reason=None, nudging=author))

    def last_chunks(self, answer: Answer, include_usage: bool) -> Iterator[ChatChunk]:
        yield from self._role_chunk()
        held_back = ChoiceDelta()
        if content := self._sent.new_content(answer.content):
            held_back.content = content
        if answer.tool_calls and not self._sent.calls:
            parts = [ToolCallDelta(i, call.name, _arguments(call)) for i, call in enumerate(answer.tool_calls)]
            held_back.tool_calls = [_tool_call_delta(part) for part in parts]
        if held_back.model_fields_set:
            yield self._chunk(ChatChunkChoice(index=0, delta=held_back, finish_reason=None))
        end = ChatChunkChoice(index=0, delta=ChoiceDelta(), finish_reason=_chat_finish_reason(answer))
        if answer.logprobs is not None:
            end.logprobs = chat_completion_chunk.ChoiceLogprobs(content=_chat_logprobs(answer.logprobs))
        yield self._chunk(end)
        if include_usage:
            yield self._chunk(usage=_usage(answer))

    def _role_chunk(self) -> Iterator[ChatChunk]:
        """Yield the chunk that opens a stream, once."""
        if not self._started:
            self._started = True
            delta = ChoiceDelta(role="assistant", content="")
            yield self._chunk(ChatChunkChoice(index=0, delta=delta, finish_reason=None))

    def _chunk(self, *choices: ChatChunkChoice, **fields: Any) -> ChatChunk:
        return ChatChunk(**self._head, object="chat.completion.chunk", choices=list(choices), **fields)

    def _choice(self, index: int, answer: Answer) -> ChatChoice:
        message = chat.ChatCompletionMessage(role="assistant", content=answer.content)
        if answer.tool_calls:
            message.tool_calls = [_tool_call(call) for call in answer.tool_calls]
        logprobs = None
        if answer.logprobs is not None:
            logprobs = chat_completion.ChoiceLogprobs(content=_chat_logprobs(answer.logprobs))
        finish_reason, nudging = _chat_finish_reason(answer), _authorship(answer)
        return ChatChoice(index=index, message=message, finish_reason=finish_reason, logprobs=logprobs, nudging=nudging)


class CompletionFormat(ReplyFormat):
    """The format of `/v1/completions`."""

    id_prefix = "cmpl"

    def whole(self, answers: Sequence[Answer]) -> CompletionReply:
        choices = [
            CompletionChoice(
                index=index,
                text=answer.text,
                finish_reason=_finish_reason(answer),
                logprobs=None if answer.logprobs is None else _completion_logprobs(answer.logprobs),
                nudging=_authorship(answer),
            )
            for index, answer in enumerate(answers)
        ]
        return CompletionReply(**self._head, object="text_completion", choices=choices, usage=_usage(*answers))

    def piece_chunks(self, piece: Piece, partial: PartialAnswer) -> Iterator[CompletionChunk]:
        author = AuthoredText(text=piece.text, author=piece.author)
        yield self._chunk(CompletionChunkChoice(index=0, text=piece.text, finish_reason=None, nudging=author))

    def last_chunks(self, answer: Answer, include_usage: bool) -> Iterator[CompletionChunk]:
        yield self._chunk(CompletionChunkChoice(index=0, text="", finish_reason=_finish_reason(answer)))
        if include_usage:
            yield self._chunk(usage=_usage(answer))

    def _chunk(self, *choices: CompletionChunkChoice, **fields: Any) -> CompletionChunk:
        return CompletionChunk(**self._head, object="text_completion", choices=list(choices), **fields)


def _finish_reason(answer: Answer) -> Literal["stop", "length"]:
    """Return OpenAI's finish reason. OpenAI has none for a loop, which becomes "stop"."""
    return "length" if answer.finish_reason == "length" else "stop"


def _chat_finish_reason(answer: Answer) -> Literal["stop", "length", "tool_calls"]:
    return "tool_calls" if answer.tool_calls else _finish_reason(answer)


def _usage(*answers: Answer) -> CompletionUsage:
    """Return the token counts of all answers together, in base-model tokens."""
    prompt = sum(answer.usage.prompt_tokens for answer in answers)
    completion = sum(answer.usage.completion_tokens for answer in answers)
    return CompletionUsage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)


def _authorship(answer: Answer) -> Authorship:
    pieces = [AuthoredText(text=piece.text, author=piece.author) for piece in answer.pieces]
    return Authorship(nudge_ratio=answer.nudge_ratio, rule=dict(answer.rule), pieces=pieces)


def _arguments(call: ToolCall) -> str:
    return json.dumps(call.arguments, ensure_ascii=False)


def _tool_call(call: ToolCall) -> ChatCompletionMessageToolCall:
    function = Function(name=call.name, arguments=_arguments(call))
    return ChatCompletionMessageToolCall(id=new_call_id(), type="function", function=function)


def _tool_call_delta(part: ToolCallDelta) -> ChoiceDeltaToolCall:
    if part.name is None:  # the name, the id and the type are in the call's first delta
        return ChoiceDeltaToolCall(index=part.index, function=ChoiceDeltaToolCallFunction(arguments=part.arguments))
    function = ChoiceDeltaToolCallFunction(name=part.name, arguments=part.arguments)
    return ChoiceDeltaToolCall(index=part.index, id=new_call_id(), type="function", function=function)


def _chat_logprobs(logprobs: Sequence[TokenLogprob]) -> list[chat.ChatCompletionTokenLogprob]:
    return [
        chat.ChatCompletionTokenLogprob(
            token=one.token, logprob=one.logprob, bytes=list(one.token.encode()), top_logprobs=[]
        )
        for one in logprobs
    ]


def _completion_logprobs(logprobs: Sequence[TokenLogprob]) -> completion_choice.Logprobs:
    ends = list(accumulate((len(one.token) for one in logprobs), initial=0))
    return completion_choice.Logprobs(
        tokens=[one.token for one in logprobs],
        token_logprobs=[one.logprob for one in logprobs],
        top_logprobs=None,
        text_offset=ends[:-1],
    )
