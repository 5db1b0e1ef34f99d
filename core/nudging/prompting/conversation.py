"""A conversation and the two prompts made from it, checked before anything is computed.

A history may come from anywhere: another provider, a trimmed memory, an agent whose model wrote a malformed call. What
no prompt can show in its own form is shown as text, or left out, and the log says so once.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from nudging._logging import log_once
from nudging.errors import PromptError
from nudging.prompting.content import content_text, kind
from nudging.prompting.tool_messages import CallIds, calls_of

Message: TypeAlias = Mapping[str, Any]
"""One message of a conversation in OpenAI's shape: `role` (system, user, assistant, tool) and `content`. An assistant's
message may have `tool_calls`; a tool's message has `tool_call_id`. Other shapes are understood too."""

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)

OTHER_ROLES = {
    "developer": "system",
    "human": "user",
    "ai": "assistant",
    "model": "assistant",
    "chatbot": "assistant",
    "function": "tool",
}
"""The roles that have another name at another provider."""

FIELDS = {"role", "content"}
OPTIONAL_FIELDS = {
    "system": {"name"},
    "user": {"name"},
    "assistant": {"name", "tool_calls", "function_call", "refusal"},
    "tool": {"name", "tool_call_id"},
}
"""The fields that messages of a role may have besides `FIELDS`. All others are left out."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Both prompts exactly as the models see them.

    Args:
        base: Plain text. The tokenizer's own special tokens (BOS) are put before it.
        nudging: Text already rendered through the nudging model's chat template. No special tokens are added.
    """

    base: str
    nudging: str


Prompt: TypeAlias = str | Sequence[Message] | Prompts


def check_prompt(prompt: Prompt) -> Prompts | list[Message]:
    """Return raw `Prompts` unchanged, and anything else as a conversation in which neighbours of one role are merged.

    In the conversation every tool message answers a call of an earlier message. A result without its call and a
    malformed call become text.

    Raises:
        PromptError: The prompt is empty, is not text, or names an unknown role.
    """
    checked = _checked(prompt)
    if not checked or (isinstance(checked, list) and _is_empty(checked[-1])):
        raise PromptError("the prompt is empty: pass a question, or messages whose last one has content")
    return checked


def without_empty_end(prompt: Prompt) -> Prompts | list[Message]:
    """Return the prompt as `check_prompt` does, without empty messages at its end. Nothing may be left of it."""
    checked = _checked(prompt)
    while isinstance(checked, list) and checked and _is_empty(checked[-1]):
        checked.pop()
    return checked


def _checked(prompt: Prompt) -> Prompts | list[Message]:
    if isinstance(prompt, Prompts):
        _check_text(prompt.base, "the base prompt")
        _check_text(prompt.nudging, "the nudging prompt")
        return prompt
    messages: Sequence[Message] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if isinstance(messages, bytes | bytearray) or not isinstance(messages, Sequence):
        raise PromptError(f"a prompt is a text, a list of messages or Prompts(base=…, nudging=…), not {kind(prompt)}")
    turns: list[Message] = []
    ids = CallIds()
    for number, message in enumerate(messages, start=1):
        append_turn(turns, _turn(message, ids, f"message {number}"))
    return turns


def append_turn(turns: list[Message], turn: Message) -> None:
    """Append a message to a conversation, or merge it with the last one if both are text of one speaker."""
    if turns and _is_text(turn) and _is_text(turns[-1]) and _speaker(turn) == _speaker(turns[-1]):
        turns[-1] = {**turns[-1], "content": f"{turns[-1]['content']}\n{turn['content']}"}
    else:
        turns.append(turn)


def _is_text(turn: Message) -> bool:
    return turn["role"] != "tool" and "tool_calls" not in turn


def _speaker(turn: Message) -> tuple[str, str | None]:
    return turn["role"], turn.get("name")


def _is_empty(turn: Message) -> bool:
    return not (turn["content"] or turn.get("tool_calls") or turn["role"] == "tool")


def _turn(message: object, ids: CallIds, where: str) -> dict[str, Any]:
    """Return the message as plain data, with the arguments of its tool calls as dictionaries."""
    if not isinstance(message, Mapping):
        raise PromptError(f"{where} is {kind(message)}: a message is a dictionary with a role and a content")
    role = message.get("role")
    role = OTHER_ROLES.get(role, role) if isinstance(role, str) else role
    if role not in ROLES:
        raise PromptError(f"{where} has the role {role!r}: choose from {', '.join(ROLES)}")
    known = FIELDS | OPTIONAL_FIELDS[role]
    if left_out := sorted(repr(name) for name, value in message.items() if name not in known and value):
        log_once(f"{', '.join(left_out)} of a message of role {role!r} cannot be part of a prompt and is left out")
    text = content_text(message.get("content"), role, where)
    _check_text(text, f"the content of {where}", may_be_empty=True)
    if role == "tool":
        return _result(message, text, ids)
    turn = {"role": role, "content": text}
    if isinstance(name := message.get("name"), str) and name:
        _check_text(name, f"the name of {where}")
        turn["name"] = name
    return turn | _calls_and_text(message, text, ids, where) if role == "assistant" else turn


def _calls_and_text(message: Message, text: str, ids: CallIds, where: str) -> dict[str, Any]:
    """Return the content of an assistant's message with its malformed calls, and its tool calls."""
    calls, malformed = calls_of(message)
    for call in calls:
        ids.add(call)
    text = text or content_text(message.get("refusal"), "assistant", where)
    content = "\n".join([*([text] if text else []), *malformed])
    _check_text(content + json.dumps(calls, ensure_ascii=False), f"the text of {where}")
    return {"content": content, "tool_calls": calls} if calls else {"content": content}


def _result(message: Message, text: str, ids: CallIds) -> dict[str, Any]:
    """Return a tool's message, as text of the user if no earlier message makes the call that it answers."""
    name = message.get("name") if isinstance(message.get("name"), str) else None
    answered = ids.answer(message.get("tool_call_id"), name)
    if answered is None:
        log_once("a tool message that answers no earlier call is shown to the models as text of the user")
        return {"role": "user", "content": f"<tool_response>\n{text}\n</tool_response>"}
    turn = {"role": "tool", "content": text, "tool_call_id": answered}
    return turn | ({"name": name} if name else {})


def _check_text(text: object, where: str, may_be_empty: bool = False) -> None:
    if not isinstance(text, str):
        raise PromptError(f"{where} is {kind(text)}: pass text as a string")
    if not text and not may_be_empty:
        raise PromptError(f"{where} is empty: a model needs at least one token to continue from")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptError(
            f"{where} contains half a character (a lone surrogate) at index {error.start}: decode the text again"
        ) from None
