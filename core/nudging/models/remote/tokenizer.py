"""Tokenizers of models on servers: the server's own, or one from files."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jinja2

from nudging._extras import required_packages
from nudging.errors import ChatTemplateError, ServerError, UnsupportedModelError
from nudging.models.base import Tokenizer
from nudging.models.gguf_files import gguf_file, is_gguf
from nudging.models.remote.servers.server import Server
from nudging.prompting.conversation import Message
from nudging.prompting.instructions import with_tools
from nudging.prompting.templates import render_template

CACHED_TEXTS = 4096
"""Number of texts whose tokens are cached."""


class ServerTokenizer(Tokenizer):
    """Tokenizes and renders on the server of the model.

    Args:
        server: Returns the server. It is not called before the first text.
    """

    def __init__(self, server: Callable[[], Server]) -> None:
        self._server = server
        self._encoded = lru_cache(CACHED_TEXTS)(self._request_tokens)

    def encode(self, text: str, *, special_tokens: bool) -> list[int]:
        return list(self._encoded(text, special_tokens)) if text or special_tokens else []

    def render(
        self, messages: Sequence[Message], template: str | None = None, tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        messages = with_tools(messages, tools)
        if template:
            try:
                return render_template(template, messages)
            except jinja2.TemplateError as error:
                raise ChatTemplateError(f"nudging_template fails on this conversation: {error}") from error
        server = self._server()
        try:
            return server.render(messages)
        except (ServerError, UnsupportedModelError) as error:
            raise ChatTemplateError(
                f"the server at {server.client.url} does not render the conversation ({error}): name the model's "
                "tokenizer as nudging_tokenizer='…' (a hub id, a folder or a GGUF file), or pass nudging_template='…' "
                "(Jinja)"
            ) from error

    def _request_tokens(self, text: str, special_tokens: bool) -> tuple[int, ...]:
        return tuple(self._server().encode(text, special_tokens))


def named_tokenizer(name: str) -> Tokenizer:
    """Return the tokenizer of this name: a hub id, a folder or a GGUF file.

    Raises:
        ModelNotFoundError: There is no such GGUF file.
        MissingDependencyError: Its packages are not installed.
    """
    if is_gguf(name) and find_spec("llama_cpp"):
        return gguf_tokenizer(gguf_file(name))
    with required_packages(f"the tokenizer {name!r}", extra="transformers"):
        from nudging.models.tokenizer import TransformersTokenizer
    return TransformersTokenizer(name)


def gguf_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer of a GGUF file.

    Raises:
        MissingDependencyError: llama.cpp is not installed.
    """
    with required_packages(f"the tokenizer in {path}", extra="llamacpp"):
        from nudging.models.llamacpp.tokenizer import GGUFTokenizer
        from nudging.models.llamacpp.weights import Weights
    return GGUFTokenizer(str(path), cache(lambda: Weights(path, n_gpu_layers=0, lora={}, vocab_only=True)))
