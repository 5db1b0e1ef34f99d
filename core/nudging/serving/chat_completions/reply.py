"""Answers as replies of `/v1/chat/completions`."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from openai.types import CompletionUsage, chat
from openai.types.chat import ChatCompletion, ChatCompletionChunk, chat_completion, chat_completion_chunk
from openai.types.chat.chat_completion_chunk import ChoiceDelta, ChoiceDeltaToolCall, ChoiceDeltaToolCallFunction
from openai.types.chat.chat_completion_message_tool_call import ChatCompletionMessageToolCall, Function
from openai.types.chat.chat_completion_token_logprob import TopLogprob

from nudging.answer import Answer, Piece, TokenLogprob
from nudging.serving.authorship import AuthoredText, Authorship
from nudging.serving.replies import CompletionsFormat, arguments_of, finite, whole_calls
from nudging.serving.sending import Event
from nudging.tools.calls import ToolCall, new_call_id
from nudging.tools.streaming import DeltaTracker, PartialAnswer, ToolCallDelta


class ChatChoice(chat_completion.Choice):
    nudging: Authorship


class ChatReply(ChatCompletion):
    """The reply to a chat request: OpenAI's, with the authors of each answer."""

    choices: list[ChatChoice]  # type: ignore[assignment]  # narrower than OpenAI's, as in the other replies


class ChatChunkChoice(chat_completion_chunk.Choice):
    nudging: AuthoredText | None = None


class ChatChunk(ChatCompletionChunk):
    """A part of a streamed chat answer: OpenAI's, with the author of the new text."""

    choices: list[ChatChunkChoice]  # type: ignore[assignment]


class ChatFormat(CompletionsFormat):
    """The format of `/v1/chat/completions`. A stream holds back text that may be the start of a tool call."""

    id_prefix = "chatcmpl"

    def __init__(self, model: str, n: int, include_usage: bool) -> None:
        super().__init__(model, n, include_usage)
        self._sent: dict[int, DeltaTracker] = {}  # of each answer

    def whole(self, answers: Sequence[Answer]) -> ChatReply:
        choices = [self._choice(index, answer) for index, answer in enumerate(answers)]
        return ChatReply(**self._head, object="chat.completion", choices=choices, usage=self._usage(answers))

    def piece(
        self, index: int, piece: Piece, partial: PartialAnswer, logprobs: Sequence[TokenLogprob] | None
    ) -> Iterator[Event]:
        yield from self._opening(index)
        sent = self._sent[index]
        delta = ChoiceDelta(content=sent.new_content(partial.content))
        author = AuthoredText(text=piece.text, author=piece.author)
        choice = ChatChunkChoice(index=index, delta=delta, finish_reason=None, nudging=author)
        if logprobs is not None:
            choice.logprobs = chat_completion_chunk.ChoiceLogprobs(content=_logprobs(logprobs))
        yield self._chunk(choice)
        yield from self._call_chunks(index, sent.new_call_deltas(partial.tool_calls))

    def end_of(self, index: int, answer: Answer) -> Iterator[Event]:
        yield from self._opening(index)
        sent = self._sent[index]
        if content := sent.new_content(answer.content):
            yield self._chunk(ChatChunkChoice(index=index, delta=ChoiceDelta(content=content), finish_reason=None))
        if not sent.calls:
            yield from self._call_chunks(index, whole_calls(answer))
        yield self._chunk(ChatChunkChoice(index=index, delta=ChoiceDelta(), finish_reason=_finish_reason(answer)))

    def _call_chunks(self, index: int, parts: Iterable[ToolCallDelta]) -> Iterator[Event]:
        """Yield a chunk for each part of a call. OpenAI sends no more in one, and LlamaIndex reads no more."""
        for part in parts:
            delta = ChoiceDelta(tool_calls=[_tool_call_delta(part)])
            yield self._chunk(ChatChunkChoice(index=index, delta=delta, finish_reason=None))

    def _opening(self, index: int) -> Iterator[Event]:
        """Yield the chunk that opens an answer, once."""
        if index not in self._sent:
            self._sent[index] = DeltaTracker()
            delta = ChoiceDelta(role="assistant", content="")
            yield self._chunk(ChatChunkChoice(index=index, delta=delta, finish_reason=None))

    def _usage_chunk(self, usage: CompletionUsage) -> Event:
        return self._chunk(usage=usage)

    def _chunk(self, *choices: ChatChunkChoice, **fields: Any) -> Event:
        return Event.of(ChatChunk(**self._head, object="chat.completion.chunk", choices=list(choices), **fields))

    def _choice(self, index: int, answer: Answer) -> ChatChoice:
        content = None if answer.tool_calls and not answer.content else answer.content
        message = chat.ChatCompletionMessage(role="assistant", content=content, refusal=None)
        if answer.tool_calls:
            message.tool_calls = [_tool_call(call) for call in answer.tool_calls]
        logprobs = None
        if answer.logprobs is not None:
            logprobs = chat_completion.ChoiceLogprobs(content=_logprobs(answer.logprobs))
        return ChatChoice(
            index=index,
            message=message,
            finish_reason=_finish_reason(answer),
            logprobs=logprobs,
            nudging=Authorship.of(answer),
        )


def _finish_reason(answer: Answer) -> Literal["stop", "length", "tool_calls"]:
    return "tool_calls" if answer.tool_calls else "length" if answer.finish_reason == "length" else "stop"


def _tool_call(call: ToolCall) -> ChatCompletionMessageToolCall:
    function = Function(name=call.name, arguments=arguments_of(call))
    return ChatCompletionMessageToolCall(id=new_call_id(), type="function", function=function)


def _tool_call_delta(part: ToolCallDelta) -> ChoiceDeltaToolCall:
    if part.name is None:  # the name, the id and the type are in the call's first delta
        return ChoiceDeltaToolCall(index=part.index, function=ChoiceDeltaToolCallFunction(arguments=part.arguments))
    function = ChoiceDeltaToolCallFunction(name=part.name, arguments=part.arguments)
    return ChoiceDeltaToolCall(index=part.index, id=new_call_id(), type="function", function=function)


def _logprobs(logprobs: Sequence[TokenLogprob]) -> list[chat.ChatCompletionTokenLogprob]:
    return [
        chat.ChatCompletionTokenLogprob(
            token=one.token,
            logprob=finite(one.logprob),
            bytes=list(one.token.encode()),
            top_logprobs=[
                TopLogprob(token=other.token, logprob=finite(other.logprob), bytes=list(other.token.encode()))
                for other in one.alternatives
            ],
        )
        for one in logprobs
    ]
