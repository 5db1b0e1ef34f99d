"""The chat template of a model in this process: what is done where it has no system role or no place for tools."""

import contextlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from logging import INFO
from typing import Any

import jinja2

from nudging._logging import log_once
from nudging.errors import ChatTemplateError
from nudging.models.base import Tokenizer
from nudging.prompting.conversation import Message
from nudging.prompting.instructions import with_tools


class ChatTemplateTokenizer(Tokenizer):
    """A tokenizer with a chat template.

    Args:
        name: The model's name, for error messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def has_template(self) -> bool:
        """Return True if the model has a chat template."""

    @abstractmethod
    def apply(self, messages: Sequence[Message], template: str | None, tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """Return the conversation rendered by a template, or else by the model's own, up to where its answer begins.

        Raises:
            jinja2.TemplateError: The template fails on this conversation. So do TypeError and KeyError.
        """

    def render(
        self, messages: Sequence[Message], template: str | None = None, tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        if not (template or self.has_template()):
            raise ChatTemplateError(
                f"the nudging model {self.name} has no chat template: pass nudging_template='…' (Jinja), choose an "
                "instruction-tuned model, or pass rendered Prompts(base=…, nudging=…)"
            )
        if tools or any(message["role"] == "tool" or message.get("tool_calls") for message in messages):
            with contextlib.suppress(ChatTemplateError):
                text = self._rendered(messages, template, tools)
                if self._shows_tools(text, messages, template, tools):
                    return text
            log_once(
                f"the chat template of {self.name} has no place for tools: the system message describes them", INFO
            )
            messages = with_tools(messages, tools)
        system, *rest = messages
        if system["role"] != "system":
            return self._rendered(messages, template)
        with contextlib.suppress(ChatTemplateError):
            text = self._rendered(messages, template)
            if system["content"].strip() in text:
                return text
        # a template without a system role (Gemma's): the system text starts the user's message, as the authors do it
        if not rest or rest[0]["role"] != "user":
            return self._rendered(messages, template)
        first = {"role": "user", "content": f"{system['content']}\n{rest[0]['content']}"}
        return self._rendered([first, *rest[1:]], template)

    def _rendered(
        self, messages: Sequence[Message], template: str | None, tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        try:
            return self.apply(messages, template, tools)
        except (jinja2.TemplateError, TypeError, KeyError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise ChatTemplateError(
                f"the chat template of {self.name} fails on a conversation of roles {roles}: {error}; "
                "pass another one as nudging_template='…' (Jinja), or rendered Prompts(base=…, nudging=…)"
            ) from error

    def _shows_tools(
        self, text: str, messages: Sequence[Message], template: str | None, tools: Sequence[Mapping[str, Any]]
    ) -> bool:
        """Return True if a rendered conversation contains the tools, the calls and the tools' results."""
        uncalled = [{**message, "tool_calls": None} for message in messages]
        if tools and self._rendered(messages, template) == text:
            return False
        if any(message.get("tool_calls") for message in messages) and self._rendered(uncalled, template, tools) == text:
            return False
        return all(message["content"].strip() in text for message in messages if message["role"] == "tool")
