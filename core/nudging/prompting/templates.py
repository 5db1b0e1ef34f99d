"""Render a conversation through Jinja templates, in the sandbox that chat templates usually run in."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from nudging.errors import ChatTemplateError
from nudging.prompting.conversation import Message, Prompts
from nudging.prompting.instructions import with_tools
from nudging.prompting.names import rendered

TODAY = "26 Jul 2024"
"""The date for chat templates that tell the model today's date, as Llama 3's do. It is the date in Meta's and the
authors' prompts: a fixed one, so that the same question has the same answer tomorrow."""

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
    return Prompts(base=base, nudging=rendered(messages, lambda turns: render(turns, nudging_template, tools)))


def render_base(messages: Sequence[Message], base_template: str | None, tools: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return the conversation as the base model sees it. Arguments and errors are those of `render_prompts`."""
    return rendered(messages, lambda turns: _render_base(turns, base_template, tools))


def _render_base(messages: Sequence[Message], base_template: str | None, tools: Sequence[Mapping[str, Any]]) -> str:
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


def render_chat(
    template: str, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], special_tokens: Mapping[str, str]
) -> str:
    """Return the text that a chat template makes of a conversation, up to where the answer begins.

    Templates see what transformers' `apply_chat_template` shows them.

    Args:
        template: The Jinja template.
        messages: The conversation.
        tools: The tools that may be called.
        special_tokens: The texts of special tokens by their names, such as bos_token.

    Raises:
        jinja2.TemplateError: The template is not well formed, or fails on this conversation.
    """
    return _compiled_chat(template).render(
        messages=[dict(message) for message in messages],
        tools=[dict(tool) for tool in tools] or None,
        documents=None,
        add_generation_prompt=True,
        date_string=TODAY,
        **special_tokens,
    )


@lru_cache(maxsize=32)
def _compiled_chat(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda format: datetime.now().strftime(format)  # noqa: A006
    return environment.from_string(template)


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    """Return a value as JSON. Jinja's own filter escapes characters for HTML.

    Args:
        value: The value.
        ensure_ascii: Escape all characters beyond ASCII.
        **options: Other options of `json.dumps` (indent, separators, sort_keys).
    """
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


class _GenerationBlock(Extension):
    """`{% generation %}` marks the assistant's part of a conversation, for training. Here its content is all of it."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's own declaration)

    def parse(self, parser: Parser) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
