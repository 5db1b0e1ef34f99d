"""Translate answers, complete or streamed, into LlamaIndex responses.

Metadata is in the `additional_kwargs` of a response. Those of its message go into memories and from there into prompts.
"""

import json
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


class ResponseBuilder:
    """Builds the responses of one streamed answer: one for each piece, and a final one.

    Each response has the whole answer so far, and the delta since the previous response. Text is held back while it may
    be the start of a tool call. The arguments of a call may be incomplete.
    """

    def __init__(self) -> None:
        self._content = ""
        self._call_ids: list[str] = []

    def add_piece(self, piece: Piece, partial: PartialAnswer) -> ChatResponse:
        """Return the response of a piece."""
        calls = [(call.name, parse_partial_json(call.arguments)) for call in partial.tool_calls]
        return self._response(partial.content, calls, {"author": piece.author})

    def finish(self, answer: Answer) -> ChatResponse:
        """Return the final response: the complete answer with its metadata."""
        calls = [(call.name, call.arguments) for call in answer.tool_calls]
        # LlamaIndex has no field for malformed calls. They stay in the content, so that they are not lost.
        content = answer.text if answer.invalid_tool_calls and not calls else answer.content
        response = self._response(content, calls, _metadata(answer))
        response.raw = answer.to_dict()
        if answer.logprobs is not None:
            response.logprobs = [
                [LogProb(token=one.token, logprob=one.logprob, bytes=list(one.token.encode()))]
                for one in answer.logprobs
            ]
        return response

    def _response(
        self, content: str, calls: Sequence[tuple[str, dict[str, Any]]], metadata: dict[str, Any]
    ) -> ChatResponse:
        delta = content[len(self._content) :] if content.startswith(self._content) else ""
        self._content = content
        self._call_ids += [new_call_id() for _ in calls[len(self._call_ids) :]]
        blocks = [
            ToolCallBlock(tool_call_id=id_, tool_name=name, tool_kwargs=arguments)
            for id_, (name, arguments) in zip(self._call_ids, calls, strict=False)
        ]
        message = ChatMessage(
            role=MessageRole.ASSISTANT,
            blocks=[TextBlock(text=content), *blocks],
            # LlamaIndex's programs read the calls from here. Nothing else is: memories count it, and keep it.
            additional_kwargs={"tool_calls": [_openai_call(block) for block in blocks]} if blocks else {},
        )
        return ChatResponse(message=message, delta=delta, additional_kwargs=metadata)


def to_response(answer: Answer) -> ChatResponse:
    """Return the response of an answer that was not streamed."""
    response = ResponseBuilder().finish(answer)
    response.delta = None
    return response


def to_completion(response: ChatResponse) -> CompletionResponse:
    """Return a chat response as the response to a completion."""
    return CompletionResponse(
        text=response.message.content or "",
        delta=response.delta,
        raw=response.raw,
        logprobs=response.logprobs,
        additional_kwargs=response.message.additional_kwargs | response.additional_kwargs,
    )


def keep_first_call(message: ChatMessage) -> None:
    """Remove all tool calls of a message but the first."""
    first = next((block for block in message.blocks if isinstance(block, ToolCallBlock)), None)
    message.blocks = [block for block in message.blocks if block is first or not isinstance(block, ToolCallBlock)]
    if calls := message.additional_kwargs.get("tool_calls"):
        message.additional_kwargs["tool_calls"] = calls[:1]


def parse_partial_json(text: str) -> Any:
    """Return the value of JSON text that may be incomplete. An empty text is an empty object."""
    return from_json(text.strip() or "{}", allow_partial="trailing-strings")


def partial_object(output_cls: type[BaseModel], text: str) -> BaseModel | FlexibleModel:
    """Return the object of incomplete JSON: an `output_cls` if it validates, or else one with all fields optional."""
    value = parse_partial_json(text)
    try:
        return output_cls.model_validate(value)
    except ValidationError:
        return create_flexible_model(output_cls).model_validate(value if isinstance(value, dict) else {"root": value})


def _openai_call(call: ToolCallBlock) -> dict[str, Any]:
    arguments = json.dumps(call.tool_kwargs, ensure_ascii=False)
    return {"id": call.tool_call_id, "type": "function", "function": {"name": call.tool_name, "arguments": arguments}}


def _metadata(answer: Answer) -> dict[str, Any]:
    invalid = [{"name": call.name, "text": call.text, "error": call.error} for call in answer.invalid_tool_calls]
    return {
        "finish_reason": answer.finish_reason,
        "nudge_ratio": answer.nudge_ratio,
        "rule": dict(answer.rule),
        "nudging_words": answer.nudging_words,
        "pieces": [{"text": piece.text, "author": piece.author} for piece in answer.pieces],
        **({"invalid_tool_calls": invalid} if invalid else {}),
    }
