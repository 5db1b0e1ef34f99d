"""A conversation through a Jinja template, in the sandbox that chat templates run in everywhere."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment


def render_template(template: str, messages: Sequence[Mapping[str, str]]) -> str:
    """The text that a template makes of the messages, which it finds as `messages`.

    Raises:
        jinja2.TemplateError: The template is not well formed, or fails on this conversation.
    """
    return _compiled(template).render(messages=messages)


@lru_cache(maxsize=32)
def _compiled(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.globals["raise_exception"] = _raise_exception  # what chat templates call it
    return environment.from_string(template)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)
