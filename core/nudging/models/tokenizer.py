"""Tokenizers of transformers. They render and count prompts without weights and without torch."""

import contextlib
from collections.abc import Generator, Mapping, Sequence
from logging import INFO
from pathlib import Path
from threading import RLock
from typing import Any

import jinja2
from safetensors import SafetensorError
from transformers import AutoTokenizer

from nudging._logging import log_once
from nudging.errors import ChatTemplateError, ModelNotFoundError
from nudging.models.base import Tokenizer
from nudging.prompting.conversation import Message
from nudging.prompting.instructions import with_tools
from nudging.tools.calls import ParsedAnswer, ToolCall

TODAY = "26 Jul 2024"
"""The date for chat templates that tell the model today's date, as Llama 3's do. It is the date in Meta's and the
authors' prompts: a fixed one, so that the same question has the same answer tomorrow."""


class TransformersTokenizer(Tokenizer):
    """A transformers tokenizer, loaded at its first use.

    Args:
        name: A hub id, a folder, or a GGUF file.
        revision: The revision of the hub repository.
    """

    def __init__(self, name: str | Path, revision: str | None = None) -> None:
        self.name = str(name)
        self.revision = revision
        self._loading = RLock()
        self._loaded: Any = None

    @property
    def loaded(self) -> Any:
        """The tokenizer object of transformers.

        Raises:
            ModelNotFoundError: It cannot be loaded.
        """
        with self._loading:
            if self._loaded is None:
                with translated_errors(self.name):
                    self._loaded = AutoTokenizer.from_pretrained(resolve_path(self.name), revision=self.revision)
            return self._loaded

    @property
    def vocabulary(self) -> dict[str, int]:
        """The id of every token by its text, added tokens included."""
        return dict(self.loaded.get_vocab())

    def encode(self, text: str, *, special_tokens: bool) -> list[int]:
        return list(self.loaded.encode(text, add_special_tokens=special_tokens))

    def render(
        self, messages: Sequence[Message], template: str | None = None, tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        if not (template or self.loaded.chat_template):
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

    def parse(self, text: str, prompt: str, tools: Sequence[Mapping[str, Any]]) -> ParsedAnswer | None:
        if not getattr(self.loaded, "response_template", None):
            return None
        try:
            parsed = self.loaded.parse_response(text, prefix=prompt, tools=list(tools))
        except Exception as error:  # a parser may fail on anything; the general one (tools/parsing.py) is tried next
            log_once(f"{self.name}'s own parser of tool calls fails ({error}): the usual formats are tried instead")
            return None
        calls = tuple(
            ToolCall(call["function"]["name"], call["function"]["arguments"])
            for call in parsed.get("tool_calls") or ()
            if isinstance(call["function"].get("arguments"), dict)
        )
        known = {tool["function"]["name"] for tool in tools}
        if not calls or any(call.name not in known for call in calls):
            return None
        return ParsedAnswer(parsed.get("content") or "", calls)

    def _rendered(
        self, messages: Sequence[Message], template: str | None, tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        try:
            return str(
                self.loaded.apply_chat_template(
                    [dict(message) for message in messages],
                    tools=[dict(tool) for tool in tools] or None,
                    chat_template=template,
                    tokenize=False,
                    add_generation_prompt=True,
                    date_string=TODAY,
                )
            )
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


def resolve_path(name: str) -> str:
    """Return the name under which transformers finds a model: a folder, or a hub id."""
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        from nudging.models.local.gguf import converted

        return str(converted(path))
    if path.is_dir():
        return str(path)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelNotFoundError(f"there is no folder {name!r}: give a model folder, a GGUF file or a hub id")
    return name


@contextlib.contextmanager
def translated_errors(name: str) -> Generator[None, None, None]:
    """Translate the errors of transformers while it loads `name` into `ModelNotFoundError`."""
    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelNotFoundError(
            f"cannot load {name!r}: {reason}. Give a model folder, a GGUF file or a hub id that this machine "
            "can reach (a gated or private one needs `hf auth login`)"
        ) from error
