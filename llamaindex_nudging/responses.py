"""Answers -> LlamaIndex responses, whole and as they grow."""

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LogProb,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import BaseModel, ValidationError
from llama_index.core.program.utils import FlexibleModel, create_flexible_model
from nudging import Answer, Piece
from nudging.tools.calls import new_call_id
from nudging.tools.streaming import PartialAnswer
from pydantic_core import from_json

from llamaindex_nudging.messages import openai_call


class Responses:
    """An answer in responses, one for each piece and a last one. Each has all that was said, and what it adds to it.

    Text that a tool call may begin in is held back. Calls have their arguments as far as they are written.
    """

    def __init__(self) -> None:
        self._content = ""
        self._call_ids: list[str] = []

    def of_piece(self, piece: Piece, partial: PartialAnswer) -> ChatResponse:
        """What has begun with this piece."""
        calls = [(call.name, so_far(call.arguments)) for call in partial.tool_calls]
        return self._response(partial.content, calls, {"author": piece.author})

    def last(self, answer: Answer) -> ChatResponse:
        """The whole answer, and what is known of it."""
        calls = [(call.name, call.arguments) for call in answer.tool_calls]
        # LlamaIndex has no place for calls that are malformed: they are content then, rather than nothing
        content = answer.text if answer.invalid_tool_calls and not calls else answer.content
        response = self._response(content, calls, _additional(answer))
        response.raw = answer.to_dict()
        if answer.logprobs is not None:
            response.logprobs = [[_logprob(token.token, token.logprob)] for token in answer.logprobs]
        return response

    def _response(
        self, content: str, calls: Sequence[tuple[str, dict[str, Any]]], additional: dict[str, Any]
    ) -> ChatResponse:
        delta = content[len(self._content) :] if content.startswith(self._content) else ""
        self._content = content
        self._call_ids += [new_call_id() for _ in calls[len(self._call_ids) :]]
        blocks = [
            ToolCallBlock(tool_call_id=id_, tool_name=name, tool_kwargs=arguments)
            for id_, (name, arguments) in zip(self._call_ids, calls, strict=False)
        ]
        if blocks:  # where LlamaIndex's programs look for them
            additional = additional | {"tool_calls": [openai_call(block) for block in blocks]}
        message = ChatMessage(
            role=MessageRole.ASSISTANT, blocks=[TextBlock(text=content), *blocks], additional_kwargs=additional
        )
        return ChatResponse(message=message, delta=delta, additional_kwargs=additional)


def whole(answer: Answer) -> ChatResponse:
    """An answer that was not streamed."""
    response = Responses().last(answer)
    response.delta = None
    return response


def completion(response: ChatResponse) -> CompletionResponse:
    """The response to a prompt rather than to messages."""
    return CompletionResponse(
        text=response.message.content or "",
        delta=response.delta,
        raw=response.raw,
        logprobs=response.logprobs,
        additional_kwargs=response.additional_kwargs,
    )


def so_far(written: str) -> Any:
    """The value of unfinished JSON."""
    return from_json(written.strip() or "{}", allow_partial="trailing-strings")


def object_so_far(output_cls: type[BaseModel], written: str) -> BaseModel | FlexibleModel:
    """The object of unfinished JSON: of `output_cls` as soon as what there is makes one, and before it one like it."""
    value = so_far(written)
    try:
        return output_cls.model_validate(value)
    except ValidationError:
        return create_flexible_model(output_cls).model_validate(value if isinstance(value, dict) else {"root": value})


def _additional(answer: Answer) -> dict[str, Any]:
    invalid = [{"name": call.name, "text": call.text, "error": call.error} for call in answer.invalid_tool_calls]
    return {
        "finish_reason": answer.finish_reason,
        "nudge_ratio": answer.nudge_ratio,
        "nudging_words": answer.nudging_words,
        "pieces": [{"text": piece.text, "author": piece.author} for piece in answer.pieces],
        **({"invalid_tool_calls": invalid} if invalid else {}),
    }


def _logprob(token: str, logprob: float) -> LogProb:
    return LogProb(token=token, logprob=logprob, bytes=list(token.encode()))
