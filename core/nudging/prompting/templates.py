"""Render a conversation through Jinja templates, in the sandbox that chat templates usually run in."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from nudging.errors import ChatTemplateError
from nudging.prompting.conversation import Message, Prompts
from nudging.prompting.instructions import with_tools

BASE_TEMPLATE = "{% for message in messages %}{{ message.content }}\n{% endfor %}"
"""The base prompt is plain text, one message per line; for one question the paper's `{system}\\n{question}\\n`."""


def render_prompts(
    messages: Sequence[Message],
    render: Callable[..., str],
    base_template: str | None,
    nudging_template: str | None,
    tools: Sequence[Mapping[str, Any]] = (),
) -> Prompts:
    """Return the conversation as each of the two models sees it.

    Args:
        messages: The conversation, as `check_prompt` returns it.
        render: The `render` method of the nudging model's tokenizer.
        base_template: A Jinja template of the base prompt that replaces `BASE_TEMPLATE`.
        nudging_template: A Jinja template that replaces the nudging model's own.
        tools: The tools that may be called. The base model gets them as text.

    Raises:
        ChatTemplateError: A template is missing, or fails on this conversation.
    """
    base = render_base(messages, base_template, tools)
    return Prompts(base=base, nudging=render(messages, nudging_template, tools))


def render_base(messages: Sequence[Message], base_template: str | None, tools: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return the conversation as the base model sees it. Arguments and errors are those of `render_prompts`."""
    try:
        return render_template(BASE_TEMPLATE if base_template is None else base_template, with_tools(messages, tools))
    except (jinja2.TemplateError, TypeError) as error:
        raise ChatTemplateError(
            f"the base template fails: {error}; it is a Jinja template of `messages`, each with a role and a content"
        ) from error


def render_template(template: str, messages: Sequence[Message]) -> str:
    """Return the text that a Jinja template makes of `messages`.

    Raises:
        jinja2.TemplateError: The template is not well formed, or fails on this conversation.
    """
    return _compiled(template).render(messages=messages)


@lru_cache(maxsize=32)
def _compiled(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.globals["raise_exception"] = _raise_exception  # chat templates call it
    return environment.from_string(template)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)
