"""A model on an OpenAI-compatible server."""

import re
import sys
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import SecretStr

from nudging.answer import Author
from nudging.errors import UnsupportedModelError
from nudging.grammar.grammar import Grammar
from nudging.models.base import Model, Sampling, Tokenizer
from nudging.models.remote.client import Client
from nudging.models.remote.servers import server_of
from nudging.models.remote.servers.server import Server
from nudging.models.remote.session import RemoteSession
from nudging.models.remote.tokenizer import ServerTokenizer, gguf_tokenizer, named_tokenizer


class RemoteModel(Model):
    """A model on an OpenAI-compatible server, shared by all its sessions.

    Args:
        name: The server's name for the model.
        url: The URL of the server's API, up to and with `/v1`.
        author: The model's part in the pair, for error messages.
        api_key: The API key, if the server needs one.
        tokenizer: A hub id, a folder or a GGUF file, for servers that do not tokenize.
        context_window: The maximum number of tokens of prompt and answer together, for servers that do not tell.
        timeout: Seconds without data before a request times out.
        max_retries: How many times in a row a request may fail and be retried.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        author: Author = "base",
        api_key: SecretStr | None = None,
        tokenizer: str | None = None,
        context_window: int | None = None,
        timeout: float = 60.0,
        max_retries: int = 6,
    ) -> None:
        self.name = name
        self.client = Client(author, url, name, api_key, timeout=timeout, max_retries=max_retries)
        self._tokenizer_name = tokenizer
        self._context_window = context_window

    def __repr__(self) -> str:
        return f"RemoteModel({self.name!r}, {self.client.url!r})"

    @property
    def identity(self) -> Mapping[str, Any]:
        own = {"tokenizer": self._tokenizer_name, "context_window": self._context_window}
        return {"name": self.name, "url": self.client.url, **own}

    def load(self) -> None:
        self.tokenizer.encode("a", special_tokens=False)
        _ = self.context_length

    @cached_property
    def server(self) -> Server:
        """The server, whose kind is found out at the first contact."""
        return server_of(self.client)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        if self._tokenizer_name:
            return named_tokenizer(self._tokenizer_name)
        if file := self.server.tokenizer_file():
            return gguf_tokenizer(file)
        return ServerTokenizer(lambda: self.server)

    @property
    def context_length(self) -> int:
        told = self.server.context_length or sys.maxsize
        return min(told, self._context_window or sys.maxsize)

    def _without_bos(self, prompt: str) -> str:
        """Return a rendered prompt without its BOS, which the server would add a second time."""
        bos = self.tokenizer.encode("", special_tokens=True)
        written = re.match(r"<[^<>]+>|\[\w+\]", prompt)
        is_bos = written and bos and self.tokenizer.encode(written[0], special_tokens=False) == bos
        return prompt[written.end() :] if written and is_bos else prompt

    def session(
        self,
        prompt: str,
        *,
        author: Author,
        sampling: Sampling | None = None,
        grammar: Grammar | None = None,
        alternatives: int = 0,
    ) -> RemoteSession:
        if alternatives:
            raise UnsupportedModelError(
                f"the {author} model {self.name} is on a server, which does not say which of the most probable tokens "
                "end the turn. The rule 'blend' needs that: choose rule='words', 'tokens' or 'bet', or a local model"
            )
        special_tokens = author == "base"
        if self.server.adds_bos and not special_tokens:
            prompt, special_tokens = self._without_bos(prompt), True
        tokens = len(self.tokenizer.encode(prompt, special_tokens=special_tokens))
        self.check_prompt_length(tokens, author)
        if author == "base":
            _ = self.server.stops_when_unsure  # found out here, where a request may block
        return RemoteSession(
            self.server, self.tokenizer, self.context_length, prompt, tokens, special_tokens, sampling, grammar
        )
