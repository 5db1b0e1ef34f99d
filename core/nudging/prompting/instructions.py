"""Put tools and schemas into the system message as text, for models that get them in no other way."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nudging.prompting.conversation import Message

TOOLS = """\
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{tools}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""
"""The text that Hermes and Qwen models are trained on. Base models get it, and chat templates without tools."""

SCHEMA = "Answer with JSON that follows this schema:\n{schema}"
CALLS_OR_SCHEMA = "Call functions, or answer with JSON that follows this schema:\n{schema}"


def with_tools(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Return the conversation as plain messages of system, user and assistant, for models without tool support."""
    plain = [_plain(message) for message in messages]
    return _in_system_message(plain, TOOLS.format(tools="\n".join(map(json.dumps, tools)))) if tools else plain


def with_schema(messages: Sequence[Message], schema: Mapping[str, Any], *, or_tools: bool = False) -> list[Message]:
    """Return the conversation with the schema of the answer in its system message.

    Args:
        messages: The conversation.
        schema: A JSON schema.
        or_tools: True if tools may be called instead.
    """
    text = CALLS_OR_SCHEMA if or_tools else SCHEMA
    return _in_system_message(messages, text.format(schema=json.dumps(schema, ensure_ascii=False)))


def _in_system_message(messages: Sequence[Message], text: str) -> list[Message]:
    first, *rest = messages
    if first["role"] != "system":
        return [{"role": "system", "content": text}, *messages]
    return [{**first, "content": f"{first['content']}\n\n{text}"}, *rest]


def _plain(message: Message) -> Message:
    content = message["content"]
    if message["role"] == "tool":
        return {"role": "user", "content": f"<tool_response>\n{content}\n</tool_response>"}
    calls = [f"<tool_call>\n{json.dumps(call['function'])}\n</tool_call>" for call in message.get("tool_calls") or ()]
    plain = {"role": message["role"], "content": "\n".join([*([content] if content else []), *calls])}
    return plain | {"name": message["name"]} if "name" in message else plain
