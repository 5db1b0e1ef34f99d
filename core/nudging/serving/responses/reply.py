"""Answers as replies of `/v1/responses`."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, get_args
from uuid import uuid4

from openai.types.responses import (
    FunctionTool,
    Response,
    ResponseCompletedEvent,
    ResponseContentPartAddedEvent,
    ResponseContentPartDoneEvent,
    ResponseCreatedEvent,
    ResponseError,
    ResponseFailedEvent,
    ResponseFunctionCallArgumentsDeltaEvent,
    ResponseFunctionCallArgumentsDoneEvent,
    ResponseFunctionToolCall,
    ResponseIncompleteEvent,
    ResponseInProgressEvent,
    ResponseOutputItemAddedEvent,
    ResponseOutputItemDoneEvent,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
    ResponseTextDoneEvent,
    ResponseUsage,
    ToolChoiceAllowed,
    ToolChoiceFunction,
    response_output_text,
    response_text_delta_event,
    response_text_done_event,
)
from openai.types.responses.response import IncompleteDetails
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails
from pydantic import BaseModel, RootModel

from nudging.answer import Answer, Piece, TokenLogprob
from nudging.serving.authorship import AuthoredText, Authorship
from nudging.serving.errors import ApiError
from nudging.serving.models import ModelCard
from nudging.serving.replies import ReplyFormat, arguments_of, finite, whole_calls
from nudging.serving.responses.recent import RecentItems
from nudging.serving.responses.request import ResponsesRequest
from nudging.serving.sending import Event
from nudging.tools.calls import new_call_id
from nudging.tools.streaming import DeltaTracker, PartialAnswer, ToolCallDelta


class ResponseReply(Response):
    """The reply to a Responses request: OpenAI's, with the authors of the answer."""

    created_at: int  # a whole number, as OpenAI sends it
    completed_at: int | None = None
    nudging: Authorship | None = None


class TextDelta(ResponseTextDeltaEvent):
    """A part of a streamed text: OpenAI's, with the author of the new text."""

    nudging: AuthoredText | None = None


class ResponsesEvent(
    RootModel[
        ResponseCreatedEvent
        | ResponseInProgressEvent
        | ResponseOutputItemAddedEvent
        | ResponseContentPartAddedEvent
        | TextDelta
        | ResponseTextDoneEvent
        | ResponseContentPartDoneEvent
        | ResponseFunctionCallArgumentsDeltaEvent
        | ResponseFunctionCallArgumentsDoneEvent
        | ResponseOutputItemDoneEvent
        | ResponseCompletedEvent
        | ResponseIncompleteEvent
        | ResponseFailedEvent
    ]
):
    """An event of a streamed response."""


class ResponsesFormat(ReplyFormat):
    """The format of `/v1/responses`.

    Args:
        card: The model.
        request: The request. A reply repeats what it asked for.
        recent: Remembers the items of the reply.
    """

    def __init__(self, card: ModelCard, request: ResponsesRequest, recent: RecentItems) -> None:
        self._head = _head(card, request)
        self._recent = recent
        self._sequence = 0  # number of events so far
        self._sent = DeltaTracker()
        self._output: list[Any] = []  # messages and calls; the last one may be unfinished
        self._logprobs: list[TokenLogprob] = []

    def whole(self, answers: Sequence[Answer]) -> ResponseReply:
        (answer,) = answers
        output: list[Any] = []
        if answer.content or not answer.tool_calls:
            output.append(_message(answer.content, answer.logprobs or ()))
        output += [_call(call.name, arguments_of(call)) for call in answer.tool_calls]
        return self._reply(answer, output)

    def piece(
        self, index: int, piece: Piece, partial: PartialAnswer, logprobs: Sequence[TokenLogprob] | None
    ) -> Iterator[Event]:
        yield from self._opening()
        self._logprobs += logprobs or ()
        if content := self._sent.new_content(partial.content):
            yield from self._text(content, AuthoredText(text=piece.text, author=piece.author), logprobs or ())
        yield from self._calls(self._sent.new_call_deltas(partial.tool_calls))

    def end_of(self, index: int, answer: Answer) -> Iterator[Event]:
        yield from self._opening()
        content = self._sent.new_content(answer.content)
        if content or not (answer.tool_calls or self._output):
            yield from self._text(content)
        if not self._sent.calls:
            yield from self._calls(whole_calls(answer))
        yield from self._close()

    def end(self, answers: Sequence[Answer]) -> Iterator[Event]:
        (answer,) = answers
        reply = self._reply(answer, self._output)
        if reply.status == "completed":
            yield self._event(ResponseCompletedEvent, response=reply)
        else:
            yield self._event(ResponseIncompleteEvent, response=reply)

    def failed(self, error: ApiError) -> Iterator[Event]:
        yield from self._opening()
        failure = ResponseError(code="server_error", message=error.message)
        reply = ResponseReply(**self._head, status="failed", error=failure, output=self._output)
        yield self._event(ResponseFailedEvent, response=reply)

    def _opening(self) -> Iterator[Event]:
        """Yield the events that open a stream, once."""
        if not self._sequence:
            reply = ResponseReply(**self._head, status="in_progress", output=[])
            yield self._event(ResponseCreatedEvent, response=reply)
            yield self._event(ResponseInProgressEvent, response=reply)

    def _text(
        self, text: str, author: AuthoredText | None = None, logprobs: Sequence[TokenLogprob] = ()
    ) -> Iterator[Event]:
        """Yield the events for new text of the message, which is opened if no message is open."""
        if not self._output or not isinstance(self._output[-1], ResponseOutputMessage):
            yield from self._close()
            self._output.append(_message("", (), status="in_progress"))
            opened = self._output[-1].model_copy(update={"content": []})
            yield self._event(ResponseOutputItemAddedEvent, item=opened)
            part = ResponseOutputText(type="output_text", text="", annotations=[])
            yield self._event(ResponseContentPartAddedEvent, part=part)
        self._last_part.text += text
        listed = [
            response_text_delta_event.Logprob(
                token=one.token,
                logprob=finite(one.logprob),
                top_logprobs=[
                    response_text_delta_event.LogprobTopLogprob(token=other.token, logprob=finite(other.logprob))
                    for other in one.alternatives
                ],
            )
            for one in logprobs
        ]
        yield self._event(TextDelta, delta=text, logprobs=listed, nudging=author)

    def _calls(self, parts: Iterator[ToolCallDelta]) -> Iterator[Event]:
        """Yield the events for new text of calls."""
        for part in parts:
            if part.name is not None:
                yield from self._close()
                self._output.append(_call(part.name, "", status="in_progress"))
                yield self._event(ResponseOutputItemAddedEvent, item=self._output[-1])
            call = self._output[-1]
            if part.arguments and isinstance(call, ResponseFunctionToolCall):
                call.arguments += part.arguments
                yield self._event(ResponseFunctionCallArgumentsDeltaEvent, delta=part.arguments)

    def _close(self) -> Iterator[Event]:
        """Yield the events that end the last item."""
        if not self._output or self._output[-1].status != "in_progress":
            return
        item = self._output[-1]
        item.status = "completed"
        if isinstance(item, ResponseFunctionToolCall):
            yield self._event(ResponseFunctionCallArgumentsDoneEvent, arguments=item.arguments, name=item.name)
        else:
            part = self._last_part
            part.logprobs = _logprobs(self._logprobs)
            listed = [
                response_text_done_event.Logprob(token=one.token, logprob=finite(one.logprob)) for one in self._logprobs
            ]
            yield self._event(ResponseTextDoneEvent, text=part.text, logprobs=listed)
            yield self._event(ResponseContentPartDoneEvent, part=part)
        yield self._event(ResponseOutputItemDoneEvent, item=item)

    @property
    def _last_part(self) -> ResponseOutputText:
        """The text of the last item, a message."""
        part: ResponseOutputText = self._output[-1].content[0]
        return part

    def _event(self, kind: type[BaseModel], **fields: Any) -> Event:
        """Return an event of OpenAI's type. One about an item names the last one."""
        (name,) = get_args(kind.model_fields["type"].annotation)
        places = {"output_index": len(self._output) - 1, "content_index": 0}
        item = {"item_id": self._output[-1].id} if self._output else {}
        of_item = {field: value for field, value in (places | item).items() if field in kind.model_fields}
        event = kind(type=name, sequence_number=self._sequence, **of_item, **fields)
        self._sequence += 1
        return Event.of(event, name)

    def _reply(self, answer: Answer, output: list[Any]) -> ResponseReply:
        is_cut = answer.finish_reason == "length" and not answer.tool_calls
        if is_cut and output:
            output[-1].status = "incomplete"
        self._recent.remember(output)
        usage = answer.usage
        return ResponseReply(
            **self._head,
            status="incomplete" if is_cut else "completed",
            completed_at=None if is_cut else int(time.time()),
            incomplete_details=IncompleteDetails(reason="max_output_tokens") if is_cut else None,
            error=None,
            output=output,
            usage=ResponseUsage(
                input_tokens=usage.prompt_tokens,
                input_tokens_details=InputTokensDetails(cached_tokens=0, cache_write_tokens=0),
                output_tokens=usage.completion_tokens,
                output_tokens_details=OutputTokensDetails(reasoning_tokens=0),
                total_tokens=usage.total_tokens,
            ),
            nudging=Authorship.of(answer),
        )


def _head(card: ModelCard, request: ResponsesRequest) -> dict[str, Any]:
    """Return the fields that all replies to a request have."""
    defaults = card.nudging.settings
    text = request.text.model_dump(by_alias=True, exclude_unset=True) if request.text else {}
    tools = [
        FunctionTool(**{"parameters": None, "strict": None, **tool.model_dump(exclude_unset=True)})
        for tool in request.functions
    ]
    return {
        "id": f"resp_{uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "model": card.id,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": request.metadata or {},
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "store": False,
        "temperature": defaults["temperature"] if request.temperature is None else request.temperature,
        "text": {"format": {"type": "text"}, **text},
        "tool_choice": _choice(request.tool_choice),
        "tools": tools,
        "top_p": defaults["top_p"] if request.top_p is None else request.top_p,
        "truncation": "disabled",
    }


def _choice(choice: str | dict[str, Any] | None) -> Any:
    """Return a tool choice as OpenAI's type. The engine has not checked it yet."""
    if isinstance(choice, dict):
        kind = ToolChoiceAllowed if choice.get("type") == "allowed_tools" else ToolChoiceFunction
        return kind.model_construct(**choice)
    if choice in (None, "auto", "none", "required"):
        return choice or "auto"
    return ToolChoiceFunction.model_construct(type="function", name=choice)


def _message(text: str, logprobs: Sequence[TokenLogprob], status: Any = "completed") -> ResponseOutputMessage:
    part = ResponseOutputText(type="output_text", text=text, annotations=[], logprobs=_logprobs(logprobs))
    return ResponseOutputMessage(
        id=f"msg_{uuid4().hex}", type="message", role="assistant", status=status, content=[part]
    )


def _call(name: str, arguments: str, status: Any = "completed") -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(
        id=f"fc_{uuid4().hex}",
        call_id=new_call_id(),
        type="function_call",
        name=name,
        arguments=arguments,
        status=status,
    )


def _logprobs(logprobs: Sequence[TokenLogprob]) -> list[response_output_text.Logprob]:
    return [
        response_output_text.Logprob(
            token=one.token,
            bytes=list(one.token.encode()),
            logprob=finite(one.logprob),
            top_logprobs=[
                response_output_text.LogprobTopLogprob(
                    token=other.token, bytes=list(other.token.encode()), logprob=finite(other.logprob)
                )
                for other in one.alternatives
            ],
        )
        for one in logprobs
    ]
