"""Tokenizers of transformers. They render and count prompts without weights and without torch."""

import contextlib
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from threading import RLock
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr
from safetensors import SafetensorError
from transformers import AutoTokenizer

from nudging._logging import log_once
from nudging.errors import ModelNotFoundError
from nudging.models.chat_template import ChatTemplateTokenizer
from nudging.models.gguf_files import gguf_file, is_gguf
from nudging.prompting.conversation import Message
from nudging.prompting.templates import TODAY
from nudging.tools.calls import ParsedAnswer, ToolCall

HUB_ARGUMENTS = (
    "token",
    "cache_dir",
    "subfolder",
    "trust_remote_code",
    "code_revision",
    "local_files_only",
    "force_download",
    "proxies",
)
"""Arguments of `from_pretrained` that say where files are. Config, tokenizer and weights are loaded with them."""


def hub_arguments(model_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the arguments of `from_pretrained` that say where files are, with the token itself."""
    given = {name: model_kwargs[name] for name in HUB_ARGUMENTS if name in model_kwargs}
    if isinstance(token := given.get("token"), SecretStr):
        given["token"] = token.get_secret_value()
    # without it, transformers asks on the terminal
    return {"trust_remote_code": False, **given}


class TransformersTokenizer(ChatTemplateTokenizer):
    """A transformers tokenizer, loaded at its first use.

    Args:
        name: A hub id, a folder, or a GGUF file.
        revision: The revision of the hub repository.
        model_kwargs: Other arguments of `from_pretrained`. Those that say where files are apply to the tokenizer too.
    """

    def __init__(
        self, name: str | Path, revision: str | None = None, model_kwargs: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        super().__init__(str(name))
        self.revision, self._model_kwargs = revision, model_kwargs
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
                    path = resolve_path(self.name, self.revision)
                    self._loaded = AutoTokenizer.from_pretrained(
                        path, revision=self.revision, **hub_arguments(self._model_kwargs)
                    )
            return self._loaded

    @property
    def vocabulary(self) -> dict[str, int]:
        """The id of every token by its text, added tokens included."""
        return dict(self.loaded.get_vocab())

    def encode(self, text: str, *, special_tokens: bool) -> list[int]:
        return list(self.loaded.encode(text, add_special_tokens=special_tokens))

    def has_template(self) -> bool:
        return bool(self.loaded.chat_template)

    def apply(self, messages: Sequence[Message], template: str | None, tools: Sequence[Mapping[str, Any]] = ()) -> str:
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


def resolve_path(name: str, revision: str | None = None) -> str:
    """Return the name under which transformers finds a model: a folder, or a hub id."""
    if is_gguf(name):
        from nudging.models.local.gguf import converted

        return str(converted(gguf_file(name, revision)))
    path = Path(name).expanduser()
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
        if "trust_remote_code" in str(error):
            raise ModelNotFoundError(
                f"cannot load {name!r}: it comes with code of its own. If you trust that code, allow it to run with "
                'base_model_kwargs or nudging_model_kwargs {"trust_remote_code": true}'
            ) from error
        raise ModelNotFoundError(
            f"cannot load {name!r}: {reason}. Give a model folder, a GGUF file or a hub id that this machine "
            "can reach (a gated or private one needs `hf auth login`)"
        ) from error
