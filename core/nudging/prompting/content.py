"""The content of a message as text. It may be a list of blocks, in the shape of any provider."""

import json
from collections.abc import Mapping
from typing import Any

from nudging._logging import log_once
from nudging.errors import PromptError

TEXT_FIELDS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "text-plain": "text",
    "refusal": "refusal",
}
"""The types of blocks that are text, each with the field that has the text."""

CALL_TYPES = {"tool_use", "tool_call", "function_call", "toolUse"}
"""The types of blocks that are tool calls. `tool_messages.py` reads them."""

REASONING_TYPES = {"thinking", "redacted_thinking", "reasoning", "reasoning_content"}
SKIPPED_TYPES = CALL_TYPES | REASONING_TYPES | {"invalid_tool_call", "tool_call_chunk"}
"""The types of blocks of an assistant's message that are left out as a matter of course."""


def content_text(content: object, role: str, where: str) -> str:
    """Return the content of a message as text.

    Blocks that are not text are left out of an assistant's message, and replaced by a placeholder such as `[image]` in
    a tool's.

    Args:
        content: A string, a list of blocks, or None. A tool may return any JSON.
        role: The role of the message.
        where: The name of the message for errors.

    Raises:
        PromptError: The content is not text.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list | tuple):
        return "".join(_block_text(block, role, where) for block in content)
    if role == "tool":
        return _json(content, where)
    raise PromptError(f"the content of {where} is {kind(content)}: pass text as a string")


def kind(value: object) -> str:
    """Return what a value is, for error messages."""
    return "missing" if value is None else f"a {type(value).__name__} ({str(value)[:40]!r})"


def _block_text(block: object, role: str, where: str) -> str:
    if isinstance(block, str):
        return block
    block_type = _block_type(block)
    if isinstance(block, Mapping):
        if block_type in TEXT_FIELDS:
            return content_text(block.get(TEXT_FIELDS[block_type]), role, f"a block of {where}")
        if block_type == "tool_result":  # in Anthropic's shape
            result = content_text(block.get("content"), "tool", where)
            return result if role == "tool" else f"<tool_response>\n{result}\n</tool_response>"
        if "cachePoint" in block or block_type == "cache_point":  # where a provider may cache the prompt
            return ""
    if role == "assistant":
        if block_type not in SKIPPED_TYPES:
            log_once(f"content of type {block_type!r} in a message of the assistant is left out: only text is used")
        return ""
    if role == "tool":
        return _result_text(block, block_type, where)
    raise PromptError(f"{where} has content of type {block_type!r}: only text is supported, pass text blocks")


def _block_type(block: object) -> str | None:
    if not isinstance(block, Mapping):
        return type(block).__name__
    return str(block["type"]) if block.get("type") else "text" if "text" in block else None


def _result_text(block: Any, block_type: str | None, where: str) -> str:
    """Return the text of a tool's block that is not text: that of a resource, any other JSON, or a placeholder."""
    if not isinstance(block, Mapping) or block_type is None:
        return _json(block, where)
    resource = block.get("resource")
    if isinstance(resource, Mapping) and isinstance(resource.get("text"), str):
        return str(resource["text"])
    placeholder = f"[{block_type.removeprefix('input_').removesuffix('_url').removesuffix('_link')}]"
    log_once(f"content of type {block_type!r} that a tool returned is shown to the models as {placeholder}")
    return placeholder


def _json(value: object, where: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        raise PromptError(f"the content of {where} is {kind(value)}: pass text as a string") from None
