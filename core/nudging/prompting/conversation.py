"""A conversation and the two prompts made from it, checked before anything is computed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from nudging.errors import PromptError

Message: TypeAlias = Mapping[str, Any]
"""One message of a conversation in OpenAI's shape: `role` (system, user, assistant, tool) and `content`. An assistant's
message may have `tool_calls`; a tool's message has `tool_call_id`."""

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)

OPTIONAL_FIELDS = {"assistant": {"tool_calls"}, "tool": {"tool_call_id", "name"}}
"""The fields that messages of a role may have besides `role` and `content`."""


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

    Raises:
        PromptError: The prompt is empty, is not text, or names an unknown role.
    """
    if isinstance(prompt, Prompts):
        _check_text(prompt.base, "the base prompt")
        _check_text(prompt.nudging, "the nudging prompt")
        return prompt
    messages: Sequence[Message] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if isinstance(messages, bytes | bytearray) or not isinstance(messages, Sequence):
        raise PromptError(f"a prompt is a text, a list of messages or Prompts(base=…, nudging=…), not {_kind(prompt)}")
    turns: list[dict[str, Any]] = []
    for number, message in enumerate(messages, start=1):
        turn = _checked(message, f"message {number}")
        _check_answers_call(turn, turns, f"message {number}")
        if turns and turn["role"] == turns[-1]["role"] and set(turn) == set(turns[-1]) == {"role", "content"}:
            turns[-1]["content"] += f"\n{turn['content']}"
        else:
            turns.append(turn)
    if not turns or not (turns[-1]["content"] or turns[-1]["role"] == "tool"):
        raise PromptError("the prompt is empty: pass a question, or messages whose last one has content")
    return list(turns)


def _checked(message: object, where: str) -> dict[str, Any]:
    """Return the message as plain data, with the arguments of its tool calls as dictionaries."""
    if not isinstance(message, Mapping):
        raise PromptError(f"{where} is {_kind(message)}: a message is a dictionary with a role and a content")
    role = message.get("role")
    if role not in ROLES:
        raise PromptError(f"{where} has the role {role!r}: choose from {', '.join(ROLES)}")
    if other := set(message) - {"role", "content"} - OPTIONAL_FIELDS.get(role, set()):
        raise PromptError(
            f"{where} has {', '.join(sorted(map(repr, other)))}, which cannot be part of a prompt: leave it out"
        )
    content = message.get("content")
    calls = [_checked_call(call, where) for call in message.get("tool_calls") or ()]
    if calls and content is None:  # OpenAI sends null beside tool calls
        content = ""
    _check_text(content, f"the content of {where}", may_be_empty=True)
    turn = {name: value for name, value in message.items() if value} | {"role": role, "content": content}
    return turn | {"tool_calls": calls} if calls else turn


def _checked_call(call: object, where: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(function, Mapping) or not isinstance(name, str):
        raise PromptError(
            f'{where} has the tool call {str(call)[:60]!r}: give {{"id": …, "type": "function", "function": '
            '{"name": …, "arguments": …}}'
        )
    arguments = function.get("arguments") or {}
    try:
        if isinstance(arguments, str):
            arguments = json.loads(arguments)
        arguments = json.loads(json.dumps(arguments))
    except (TypeError, ValueError) as error:
        raise PromptError(f"{where} calls {name!r} with arguments that are not JSON: {error}") from None
    return {"id": call.get("id"), "type": "function", "function": {"name": name, "arguments": arguments}}


def _check_answers_call(message: Mapping[str, Any], before: Sequence[Message], where: str) -> None:
    if message["role"] != "tool":
        return
    called = [call["id"] for turn in before for call in turn.get("tool_calls") or ()]
    if message.get("tool_call_id") not in called:
        raise PromptError(
            f"{where} answers the tool call {message.get('tool_call_id')!r}, which no earlier message makes: keep "
            "the assistant's message with that call, or leave this one out"
        )


def _check_text(text: object, where: str, may_be_empty: bool = False) -> None:
    if not isinstance(text, str):
        raise PromptError(f"{where} is {_kind(text)}: pass text as a string")
    if not text and not may_be_empty:
        raise PromptError(f"{where} is empty: a model needs at least one token to continue from")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptError(
            f"{where} contains half a character (a lone surrogate) at index {error.start}: decode the text again"
        ) from None


def _kind(value: object) -> str:
    return "missing" if value is None else f"a {type(value).__name__} ({str(value)[:40]!r})"
