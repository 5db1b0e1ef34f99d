"""Translate LlamaIndex messages and tools into the engine's format.

The engine decides what a prompt can show of a message: calls without ids, results without calls, images.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    BaseContentBlock,
    BaseRecursiveContentBlock,
    CachePoint,
    ChatMessage,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.tools import BaseTool
from nudging import Message
from nudging.tools.definitions import Tool
from pydantic_core import to_jsonable_python

from llamaindex_nudging.errors import translated_errors

SKIPPED_BLOCKS = CachePoint, ThinkingBlock, ToolCallBlock
"""Blocks of a message that are left out of its content. Tool calls are translated separately."""

CALLS = "tool_calls", "function_call"
"""The `additional_kwargs` in which LLM classes put tool calls, also in their own objects."""

RESULT = "tool_call_id", "name"
"""The `additional_kwargs` of a tool's message."""


@translated_errors()
def conversation(messages: Sequence[ChatMessage]) -> list[Message]:
    """Return LlamaIndex messages as a conversation for the engine."""
    return [_engine_message(message) for message in messages]


def openai_tools(tools: Sequence[BaseTool | Tool]) -> list[Tool]:
    """Return the tools in OpenAI's format."""
    return [
        tool.metadata.to_openai_tool(skip_length_check=True) if isinstance(tool, BaseTool) else tool for tool in tools
    ]


def _engine_message(message: ChatMessage) -> Message:
    names = (*CALLS, *RESULT) if message.role in (MessageRole.TOOL, MessageRole.FUNCTION) else CALLS
    details = {name: message.additional_kwargs[name] for name in names if message.additional_kwargs.get(name)}
    if calls := [_engine_call(block) for block in message.blocks if isinstance(block, ToolCallBlock)]:
        details["tool_calls"] = calls
    plain = to_jsonable_python(details, serialize_unknown=True, bytes_mode="base64")
    return {"role": message.role.value, "content": list(_content(message)), **plain}


def _engine_call(block: ToolCallBlock) -> dict[str, Any]:
    function = {"name": block.tool_name, "arguments": block.tool_kwargs}
    return {"id": block.tool_call_id, "type": "function", "function": function}


def _content(message: ChatMessage) -> Iterator[Any]:
    """Yield the texts of a message, and the types of blocks that are not text. LlamaIndex puts each on its own line."""
    for number, block in enumerate(_flattened(message.blocks)):
        if number:
            yield "\n"
        yield block.text or "" if isinstance(block, TextBlock) else {"type": getattr(block, "block_type", None)}


def _flattened(blocks: Sequence[BaseContentBlock]) -> Iterator[BaseContentBlock]:
    """Yield the blocks of a message, with those inside of citations in their place."""
    for block in blocks:
        if isinstance(block, BaseRecursiveContentBlock):
            yield from _flattened(block.nested_blocks)
        elif not isinstance(block, SKIPPED_BLOCKS):
            yield block
