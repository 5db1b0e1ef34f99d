"""A conversation -> base prompt and nudging prompt."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import jinja2

from nudging.errors import ChatTemplateError, PromptError
from nudging.models.base import Message, Model
from nudging.prompting.instructions import with_tools
from nudging.prompting.templates import render_template

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)

PARTS = {"assistant": {"tool_calls"}, "tool": {"tool_call_id", "name"}}
"""What messages of a role may have besides role and content."""

BASE_TEMPLATE = "{% for message in messages %}{{ message.content }}\n{% endfor %}"
"""The base prompt is plain text, a turn a line: for one turn the paper's `{system}\\n{question}\\n`."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Both prompts as the models shall see them.

    Args:
        base: Plain text; the tokenizer's own special tokens (BOS) are put before it.
        nudging: Rendered through the nudging model's chat template already; no special tokens are added.
    """

    base: str
    nudging: str


Prompt: TypeAlias = str | Sequence[Message] | Prompts


def check_prompt(prompt: Prompt) -> Prompts | list[Message]:
    """Prompts as they are; anything else as a conversation, neighbours of one role put together.

    Raises:
        PromptError: It is empty, or not made of text, or names an unknown role.
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
        raise PromptError("the prompt is empty: pass a question, or messages of which the last one has a content")
    return list(turns)


def render_prompts(
    messages: Sequence[Message],
    nudging_model: Model,
    base_template: str | None,
    nudging_template: str | None,
    tools: Sequence[Mapping[str, Any]] = (),
) -> Prompts:
    """The conversation as each of the two models shall see it.

    Args:
        messages: As `check_prompt` gives them.
        nudging_model: The model whose chat template renders the nudging prompt.
        base_template: Jinja, for the base prompt, in place of `BASE_TEMPLATE`.
        nudging_template: Jinja, in place of the nudging model's own.
        tools: What may be called. The base model is told of them as text.

    Raises:
        ChatTemplateError: A template is missing, or fails on this conversation.
    """
    try:
        base = render_template(BASE_TEMPLATE if base_template is None else base_template, with_tools(messages, tools))
    except (jinja2.TemplateError, TypeError) as error:
        raise ChatTemplateError(
            f"the base template fails: {error}; it is Jinja and sees `messages`, each with a role and a content"
        ) from error
    return Prompts(base=base, nudging=nudging_model.render(messages, nudging_template, tools))


def _checked(message: object, where: str) -> dict[str, Any]:
    """The message as plain data, its calls with arguments that are a dictionary."""
    if not isinstance(message, Mapping):
        raise PromptError(f"{where} is {_kind(message)}: a message is a dictionary with a role and a content")
    role = message.get("role")
    if role not in ROLES:
        raise PromptError(f"{where} has the role {role!r}: choose from {', '.join(ROLES)}")
    if other := set(message) - {"role", "content"} - PARTS.get(role, set()):
        raise PromptError(
            f"{where} has {', '.join(sorted(map(repr, other)))}, which no prompt has a place for: leave it out"
        )
    content = message.get("content")
    calls = [_checked_call(call, where) for call in message.get("tool_calls") or ()]
    if calls and content is None:  # as OpenAI has it
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
            f"{where} answers the tool call {message.get('tool_call_id')!r}, which no message before it makes: keep "
            "the assistant's message that calls the tool, or leave this one out"
        )


def _check_text(text: object, where: str, may_be_empty: bool = False) -> None:
    if not isinstance(text, str):
        raise PromptError(f"{where} is {_kind(text)}: only text can be nudged, pass a string")
    if not text and not may_be_empty:
        raise PromptError(f"{where} is empty: a model needs a text to go on from")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptError(
            f"{where} has half a character (a lone surrogate) at index {error.start}: decode the text anew, or drop it"
        ) from None


def _kind(value: object) -> str:
    return "missing" if value is None else f"a {type(value).__name__} ({str(value)[:40]!r})"
