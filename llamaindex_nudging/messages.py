"""LlamaIndex messages and tools -> what the engine takes."""

import json
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.tools import BaseTool
from nudging import Message, PromptError
from nudging.tools.definitions import Tool

ROLES = {
    MessageRole.DEVELOPER: "system",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.FUNCTION: "tool",
}
"""The roles that LlamaIndex names otherwise than the engine."""

UNSAID = CachePoint, ThinkingBlock, ToolCallBlock
"""Blocks of a message that are not what it says."""


def conversation(messages: Sequence[ChatMessage]) -> list[Message]:
    """LlamaIndex messages as the engine takes them.

    Raises:
        PromptError: A message has a role that the engine does not know, or a content that is not text.
    """
    return [_turn(message, f"message {number}") for number, message in enumerate(messages, start=1)]


def described(tools: Sequence[BaseTool | Tool]) -> list[Tool]:
    """Tools as OpenAI describes functions."""
    return [
        tool.metadata.to_openai_tool(skip_length_check=True) if isinstance(tool, BaseTool) else tool for tool in tools
    ]


def openai_call(call: ToolCallBlock) -> dict[str, Any]:
    """A call as OpenAI describes it, its arguments as JSON."""
    kwargs = call.tool_kwargs
    arguments = kwargs if isinstance(kwargs, str) else json.dumps(kwargs, ensure_ascii=False)
    return {"id": call.tool_call_id, "type": "function", "function": {"name": call.tool_name, "arguments": arguments}}


def _turn(message: ChatMessage, where: str) -> Message:
    role = ROLES.get(message.role, message.role.value)
    turn: dict[str, Any] = {"role": role, "content": _content(message, where)}
    if role == "tool":
        turn |= {key: value for key in ("tool_call_id", "name") if (value := message.additional_kwargs.get(key))}
    if calls := _calls(message):
        turn["tool_calls"] = calls
    return turn


def _content(message: ChatMessage, where: str) -> str:
    said = [block for block in message.blocks if not isinstance(block, UNSAID)]
    for block in said:
        if not isinstance(block, TextBlock):
            raise PromptError(
                f"{where} has a content of type {block.block_type!r}: only text can be nudged, pass text blocks"
            )
    return message.content or ""


def _calls(message: ChatMessage) -> list[Any]:
    """The calls that a message makes: its blocks, or, as older ones have them, OpenAI's in its `additional_kwargs`."""
    calls = [openai_call(block) for block in message.blocks if isinstance(block, ToolCallBlock)]
    return calls or list(message.additional_kwargs.get("tool_calls") or ())
