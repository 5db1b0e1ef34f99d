"""A conversation -> base prompt and nudging prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, TypeAlias, get_args

import jinja2

from nudging.errors import ChatTemplateError, PromptError
from nudging.models.model import Message, Model
from nudging.templates import render_template

Role = Literal["system", "user", "assistant"]
ROLES: tuple[str, ...] = get_args(Role)

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
    for number, message in enumerate(messages, start=1):
        _check_message(message, f"message {number}")
    if not messages or not messages[-1]["content"]:
        raise PromptError("the prompt is empty: pass a question, or messages of which the last one has a content")
    return [
        {"role": role, "content": "\n".join(message["content"] for message in turn)}
        for role, turn in groupby(messages, key=lambda message: message["role"])
    ]


def render_prompts(
    messages: Sequence[Message], nudging_model: Model, base_template: str | None, nudging_template: str | None
) -> Prompts:
    """The conversation as each of the two models shall see it.

    Args:
        messages: As `check_prompt` gives them.
        nudging_model: The model whose chat template renders the nudging prompt.
        base_template: Jinja, for the base prompt, in place of `BASE_TEMPLATE`.
        nudging_template: Jinja, in place of the nudging model's own.

    Raises:
        ChatTemplateError: A template is missing, or fails on this conversation.
    """
    try:
        base = render_template(BASE_TEMPLATE if base_template is None else base_template, messages)
    except (jinja2.TemplateError, TypeError) as error:
        raise ChatTemplateError(
            f"the base template fails: {error}; it is Jinja and sees `messages`, each with a role and a content"
        ) from error
    return Prompts(base=base, nudging=nudging_model.render(messages, nudging_template))


def _check_message(message: object, where: str) -> None:
    if not isinstance(message, Mapping):
        raise PromptError(f"{where} is {_kind(message)}: a message is a dictionary with a role and a content")
    role = message.get("role")
    if role not in ROLES:
        raise PromptError(f"{where} has the role {role!r}: choose from {', '.join(ROLES)}")
    if other := set(message) - {"role", "content"}:
        raise PromptError(
            f"{where} has {', '.join(sorted(map(repr, other)))}, which no prompt has a place for: leave it out"
        )
    _check_text(message.get("content"), f"the content of {where}", may_be_empty=True)


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
