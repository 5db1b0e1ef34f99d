"""Translate LangChain messages into a conversation for the engine, and answers into LangChain messages."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, InvalidToolCall, ToolCall, ToolCallChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.utils.json import parse_partial_json
from nudging import Answer, Message, Piece
from nudging.tools.calls import new_call_id
from nudging.tools.streaming import DeltaTracker, PartialAnswer, ToolCallDelta

from langchain_nudging.metadata import AuthoredChunk, answer_metadata, final_metadata, pieces_metadata
from langchain_nudging.schemas import safe_name

Names = Mapping[str, str]
"""The tools' own names by the names that the models see, where the two differ."""


def conversation(messages: Sequence[BaseMessage]) -> list[Message]:
    """Return LangChain messages as a conversation for the engine, which checks them."""
    return [_engine_message(message) for message in messages]


def _engine_message(message: BaseMessage) -> Message:
    # a ChatMessage has a role of its own, and the type of a chunk is, for example, "AIMessageChunk"
    role = getattr(message, "role", None) or message.type.removesuffix("MessageChunk").lower()
    translated: dict[str, Any] = {"role": role, "content": message.content}
    if role in ("tool", "function"):
        translated["tool_call_id"] = getattr(message, "tool_call_id", None)
        translated["name"] = message.name and safe_name(message.name)
    if isinstance(message, AIMessage):
        # the engine shows malformed calls as text: their arguments are not JSON objects
        translated["tool_calls"] = [
            _call(call["id"], call["name"], call["args"]) for call in [*message.tool_calls, *message.invalid_tool_calls]
        ]
        translated["function_call"] = message.additional_kwargs.get("function_call")  # older messages of OpenAI
    return translated


def _call(id_: str | None, name: str | None, arguments: Any) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name and safe_name(name), "arguments": arguments}}


def answer_message(answer: Answer, model_names: tuple[str, str], names: Names) -> AIMessage:
    """Return a complete answer as one message."""
    return AIMessage(
        content=answer.content,
        tool_calls=_tool_calls(answer, names),
        invalid_tool_calls=_invalid_calls(answer, names),
        response_metadata=answer_metadata(answer, model_names),
        usage_metadata=_usage(answer),
    )


class ChunkBuilder:
    """Builds the message chunks of one streamed answer: one for each piece, and a final one.

    Text is held back while it may be the start of a tool call.

    Args:
        names: The tools' own names.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._deltas = DeltaTracker()

    def add_piece(self, piece: Piece, partial: PartialAnswer) -> AIMessageChunk:
        """Return the chunk of a piece: the new content and the new parts of tool calls."""
        return AuthoredChunk(
            content=self._deltas.new_content(partial.content),
            tool_call_chunks=[self._call_chunk(delta) for delta in self._deltas.new_call_deltas(partial.tool_calls)],
            response_metadata=pieces_metadata([piece]),
        )

    def finish(self, answer: Answer, model_names: tuple[str, str]) -> AIMessageChunk:
        """Return the final chunk: the rest of the content, calls that were not streamed, metadata and usage."""
        streamed = bool(self._deltas.calls)
        return AuthoredChunk(
            content=self._deltas.new_content(answer.content),
            tool_calls=[] if streamed else _tool_calls(answer, self._names),
            invalid_tool_calls=[] if streamed else _invalid_calls(answer, self._names),
            response_metadata=final_metadata(answer, model_names),
            usage_metadata=_usage(answer),
            chunk_position="last",
        )

    def _call_chunk(self, delta: ToolCallDelta) -> ToolCallChunk:
        name = delta.name and self._names.get(delta.name, delta.name)
        id_ = new_call_id() if delta.name else None
        return ToolCallChunk(name=name, args=delta.arguments, id=id_, index=delta.index, type="tool_call_chunk")


def _tool_calls(answer: Answer, names: Names) -> list[ToolCall]:
    return [
        ToolCall(type="tool_call", name=names.get(call.name, call.name), args=call.arguments, id=new_call_id())
        for call in answer.tool_calls
    ]


def _invalid_calls(answer: Answer, names: Names) -> list[InvalidToolCall]:
    return [
        InvalidToolCall(
            type="invalid_tool_call",
            name=call.name and names.get(call.name, call.name),
            args=_invalid_args(call.text),
            id=new_call_id(),
            error=call.error,
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
