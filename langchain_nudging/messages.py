"""Translate LangChain messages into a conversation for the engine, and answers into LangChain messages."""

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

from langchain_nudging.metadata import answer_metadata, final_metadata, pieces_metadata

ROLES = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool"}
"""The role of each LangChain message type."""

SKIPPED_BLOCKS = {"tool_use", "tool_call", "function_call", "thinking", "redacted_thinking", "reasoning"}
"""Types of content blocks of an AI message that are left out: reasoning, and tool calls, which `tool_calls` has too."""


def conversation(messages: Sequence[BaseMessage]) -> list[Message]:
    """Return LangChain messages as a conversation for the engine.

    Raises:
        PromptError: A message has content that is not text.
    """
    return [_engine_message(message, f"message {number}") for number, message in enumerate(messages, start=1)]


def _engine_message(message: BaseMessage, where: str) -> Message:
    # a ChatMessage has a role of its own; the engine checks it
    role = getattr(message, "role", None) or ROLES.get(message.type, message.type)
    translated: dict[str, Any] = {"role": role, "content": _text(message, where)}
    if isinstance(message, ToolMessage):
        translated["tool_call_id"] = message.tool_call_id
        if message.name:
            translated["name"] = message.name
    if isinstance(message, AIMessage) and message.tool_calls:
        translated["tool_calls"] = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["args"]}}
            for call in message.tool_calls
        ]
    return translated


def _text(message: BaseMessage, where: str) -> str:
    blocks = [message.content] if isinstance(message.content, str) else message.content
    text = ""
    for block in blocks:
        kind = "text" if isinstance(block, str) else block.get("type")
        if kind == "text":
            text += block if isinstance(block, str) else block["text"]
        elif not (isinstance(message, AIMessage) and kind in SKIPPED_BLOCKS):
            raise PromptError(f"{where} has content of type {kind!r}: only text is supported, pass text blocks")
    return text


def answer_message(answer: Answer, model_names: tuple[str, str]) -> AIMessage:
    """Return a complete answer as one message."""
    return AIMessage(
        content=answer.content,
        tool_calls=[ToolCall(name=call.name, args=call.arguments, id=new_call_id()) for call in answer.tool_calls],
        invalid_tool_calls=_invalid_calls(answer),
        response_metadata=answer_metadata(answer, model_names),
        usage_metadata=_usage(answer),
    )


class ChunkBuilder:
    """Builds the message chunks of one streamed answer: one for each piece, and a final one.

    Text is held back while it may be the start of a tool call.
    """

    def __init__(self) -> None:
        self._deltas = DeltaTracker()

    def add_piece(self, piece: Piece, partial: PartialAnswer) -> AIMessageChunk:
        """Return the chunk of a piece: the new content and the new parts of tool calls."""
        return AIMessageChunk(
            content=self._deltas.content(partial.content),
            tool_call_chunks=[_call_chunk(delta) for delta in self._deltas.parts(partial.tool_calls)],
            response_metadata=pieces_metadata([piece]),
        )

    def finish(self, answer: Answer, model_names: tuple[str, str]) -> AIMessageChunk:
        """Return the final chunk: the rest of the content, calls that were not streamed, metadata and usage."""
        return AIMessageChunk(
            content=self._deltas.content(answer.content),
            tool_call_chunks=[] if self._deltas.calls else list(_complete_calls(answer)),
            response_metadata=final_metadata(answer, model_names),
            usage_metadata=_usage(answer),
            chunk_position="last",
        )


def _call_chunk(delta: ToolCallDelta) -> ToolCallChunk:
    id_ = new_call_id() if delta.name else None
    return ToolCallChunk(name=delta.name, args=delta.arguments, id=id_, index=delta.index, type="tool_call_chunk")


def _complete_calls(answer: Answer) -> Iterator[ToolCallChunk]:
    valid = [(call.name, json.dumps(call.arguments, ensure_ascii=False), new_call_id()) for call in answer.tool_calls]
    invalid = [(call["name"], call["args"], call["id"]) for call in _invalid_calls(answer)]
    for index, (name, args, id_) in enumerate([*valid, *invalid]):
        yield ToolCallChunk(name=name, args=args, id=id_, index=index, type="tool_call_chunk")


def _invalid_calls(answer: Answer) -> list[InvalidToolCall]:
    return [
        InvalidToolCall(
            type="invalid_tool_call", name=call.name, args=_invalid_args(call.text), id=new_call_id(), error=call.error
        )
        for call in answer.invalid_tool_calls
    ]


def _invalid_args(text: str) -> str:
    """Return the text of a malformed call so that LangChain, which repairs JSON in streams, does not make it valid."""
    try:
        repaired = parse_partial_json(text)
    except ValueError:
        return text
    return json.dumps(text) if isinstance(repaired, dict) else text


def _usage(answer: Answer) -> UsageMetadata:
    usage = answer.usage
    return UsageMetadata(
        input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, total_tokens=usage.total_tokens
    )
