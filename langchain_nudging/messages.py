"""LangChain messages -> conversation, and answers -> LangChain messages."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    InvalidToolCall,
    ToolCall,
    ToolCallChunk,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.utils.json import parse_partial_json
from nudging import Answer, Message, Piece, PromptError
from nudging.tools.calls import new_call_id
from nudging.tools.streaming import DeltaTracker, PartialAnswer, ToolCallDelta

from langchain_nudging.metadata import answer_metadata, pieces_metadata

ROLES = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool"}
"""The roles of LangChain's message types."""

UNSAID = {"tool_use", "tool_call", "function_call", "thinking", "redacted_thinking", "reasoning"}
"""Kinds of content blocks of an AI message that are not what it said; `tool_calls` has its calls."""


def conversation(messages: Sequence[BaseMessage]) -> list[Message]:
    """LangChain messages as the engine takes them.

    Raises:
        PromptError: A message has a content that is not text.
    """
    return [_turn(message, f"message {number}") for number, message in enumerate(messages, start=1)]


def _turn(message: BaseMessage, where: str) -> Message:
    # a ChatMessage says its role itself; the engine knows which roles there are
    role = getattr(message, "role", None) or ROLES.get(message.type, message.type)
    turn: dict[str, Any] = {"role": role, "content": _content(message, where)}
    if isinstance(message, ToolMessage):
        turn["tool_call_id"] = message.tool_call_id
        if message.name:
            turn["name"] = message.name
    if isinstance(message, AIMessage) and message.tool_calls:
        turn["tool_calls"] = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["args"]}}
            for call in message.tool_calls
        ]
    return turn


def _content(message: BaseMessage, where: str) -> str:
    blocks = [message.content] if isinstance(message.content, str) else message.content
    text = ""
    for block in blocks:
        kind = "text" if isinstance(block, str) else block.get("type")
        if kind == "text":
            text += block if isinstance(block, str) else block["text"]
        elif not (isinstance(message, AIMessage) and kind in UNSAID):
            raise PromptError(f"{where} has a content of type {kind!r}: only text can be nudged, pass text blocks")
    return text


def answer_message(answer: Answer, model_names: tuple[str, str]) -> AIMessage:
    """A whole answer."""
    return AIMessage(
        content=answer.content,
        tool_calls=[ToolCall(name=call.name, args=call.arguments, id=new_call_id()) for call in answer.tool_calls],
        invalid_tool_calls=_invalid_calls(answer),
        response_metadata=pieces_metadata(answer.pieces) | answer_metadata(answer, model_names),
        usage_metadata=_usage(answer),
    )


class Chunks:
    """An answer in chunks, one for each piece and a last one. Text that a tool call may begin in is held back."""

    def __init__(self) -> None:
        self._deltas = DeltaTracker()

    def of_piece(self, piece: Piece, partial: PartialAnswer) -> AIMessageChunk:
        """What this piece adds to what has begun."""
        return AIMessageChunk(
            content=self._deltas.content(partial.content),
            tool_call_chunks=[_call_chunk(part) for part in self._deltas.parts(partial.tool_calls)],
            response_metadata=pieces_metadata([piece]),
        )

    def last(self, answer: Answer, model_names: tuple[str, str]) -> AIMessageChunk:
        """What is left, and what is known of the answer as a whole."""
        return AIMessageChunk(
            content=self._deltas.content(answer.content),
            tool_call_chunks=[] if self._deltas.calls else list(_whole_calls(answer)),
            response_metadata=answer_metadata(answer, model_names),
            usage_metadata=_usage(answer),
            chunk_position="last",
        )


def _call_chunk(part: ToolCallDelta) -> ToolCallChunk:
    id_ = new_call_id() if part.name else None
    return ToolCallChunk(name=part.name, args=part.arguments, id=id_, index=part.index, type="tool_call_chunk")


def _whole_calls(answer: Answer) -> Iterator[ToolCallChunk]:
    valid = [(call.name, json.dumps(call.arguments, ensure_ascii=False), new_call_id()) for call in answer.tool_calls]
    invalid = [(call["name"], call["args"], call["id"]) for call in _invalid_calls(answer)]
    for index, (name, args, id_) in enumerate([*valid, *invalid]):
        yield ToolCallChunk(name=name, args=args, id=id_, index=index, type="tool_call_chunk")


def _invalid_calls(answer: Answer) -> list[InvalidToolCall]:
    return [
        InvalidToolCall(
            type="invalid_tool_call", name=call.name, args=_not_arguments(call.text), id=new_call_id(), error=call.error
        )
        for call in answer.invalid_tool_calls
    ]


def _not_arguments(text: str) -> str:
    """A malformed call, in such a way that LangChain, which mends what it can in a stream, leaves it malformed."""
    try:
        mended = parse_partial_json(text)
    except ValueError:
        return text
    return json.dumps(text) if isinstance(mended, dict) else text


def _usage(answer: Answer) -> UsageMetadata:
    usage = answer.usage
    return UsageMetadata(
        input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, total_tokens=usage.total_tokens
    )
