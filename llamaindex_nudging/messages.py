"""Translate LlamaIndex messages and tools into the engine's format."""

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
"""The roles that have another name in the engine."""

SKIPPED_BLOCKS = CachePoint, ThinkingBlock, ToolCallBlock
"""Blocks of a message that are left out of its text. Tool calls are translated separately."""


def conversation(messages: Sequence[ChatMessage]) -> list[Message]:
    """Return LlamaIndex messages as a conversation for the engine.

    Raises:
        PromptError: A message has an unknown role, or content that is not text.
    """
    return [_engine_message(message, f"message {number}") for number, message in enumerate(messages, start=1)]


def openai_tools(tools: Sequence[BaseTool | Tool]) -> list[Tool]:
    """Return the tools in OpenAI's format."""
    return [
        tool.metadata.to_openai_tool(skip_length_check=True) if isinstance(tool, BaseTool) else tool for tool in tools
    ]


def openai_call(call: ToolCallBlock) -> dict[str, Any]:
    """Return a tool call in OpenAI's format, with its arguments as JSON text."""
    kwargs = call.tool_kwargs
    arguments = kwargs if isinstance(kwargs, str) else json.dumps(kwargs, ensure_ascii=False)
    return {"id": call.tool_call_id, "type": "function", "function": {"name": call.tool_name, "arguments": arguments}}


def _engine_message(message: ChatMessage, where: str) -> Message:
    role = ROLES.get(message.role, message.role.value)
    translated: dict[str, Any] = {"role": role, "content": _text(message, where)}
    if role == "tool":
        translated |= {key: value for key in ("tool_call_id", "name") if (value := message.additional_kwargs.get(key))}
    if calls := _calls(message):
        translated["tool_calls"] = calls
    return translated


def _text(message: ChatMessage, where: str) -> str:
    for block in message.blocks:
        if not isinstance(block, (TextBlock, *SKIPPED_BLOCKS)):
            raise PromptError(
                f"{where} has content of type {block.block_type!r}: only text is supported, pass text blocks"
            )
    return message.content or ""


def _calls(message: ChatMessage) -> list[Any]:
    """Return the tool calls of a message: its blocks, or the `additional_kwargs` where older LlamaIndex puts them."""
    calls = [openai_call(block) for block in message.blocks if isinstance(block, ToolCallBlock)]
    return calls or list(message.additional_kwargs.get("tool_calls") or ())
