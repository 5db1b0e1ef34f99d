"""A model on an OpenAI-compatible server."""

import sys
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import SecretStr

from nudging._extras import required_packages
from nudging._logging import log_once
from nudging.answer import Author
from nudging.errors import GrammarError, ModelNotFoundError, UnsupportedModelError
from nudging.grammar.grammar import Grammar
from nudging.models.base import Model, Sampling, Tokenizer
from nudging.models.remote.client import Client
from nudging.models.remote.session import RemoteSession
from nudging.models.remote.tokenizer import ServerTokenizer


class RemoteModel(Model):
    """A model on an OpenAI-compatible server, shared by all its sessions.

    Args:
        name: The server's name for the model.
        url: The URL of the server's API, up to and with `/v1`.
        author: The model's part in the pair, for error messages.
        api_key: The API key, if the server needs one.
        tokenizer: A hub id, a folder or a GGUF file, for servers without /tokenize.
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
        timeout: float = 60.0,
        max_retries: int = 6,
    ) -> None:
        self.name = name
        self.client = Client(author, url, name, api_key, timeout=timeout, max_retries=max_retries)
        self._tokenizer_name = tokenizer
        self._tokenizer = _transformers_tokenizer(tokenizer) if tokenizer else ServerTokenizer(self.client)

    def __repr__(self) -> str:
        return f"RemoteModel({self.name!r}, {self.client.url!r})"

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"name": self.name, "url": self.client.url, "tokenizer": self._tokenizer_name}

    def load(self) -> None:
        _ = self.context_length

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @property
    def context_length(self) -> int:
        return int(self._card.get("max_model_len") or sys.maxsize)

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
        if grammar is not None and not grammar.lazy:
            raise GrammarError(
                f"{grammar.meaning} needs models in this process, and the {author} model {self.name} is on a server, "
                "where a grammar cannot be enforced. Use a local pair, or ask without a schema"
            )
        if grammar is not None:
            log_once(
                f"{self.name} is on a server, where optional tool calls are not constrained: their arguments may be "
                "malformed. Use a local pair if they must be valid"
            )
        special_tokens = author == "base"
        tokens = len(self.tokenizer.encode(prompt, special_tokens=special_tokens))
        self.check_prompt_length(tokens, author)
        return RemoteSession(self.client, self.tokenizer, self.context_length, prompt, tokens, special_tokens, sampling)

    @cached_property
    def _card(self) -> Mapping[str, Any]:
        """The server's description of the model, requested at the first contact."""
        listed = self.client.get("/v1/models").get("data") or []
        for card in listed:
            if card.get("id") == self.name:
                return dict(card)
        names = ", ".join(repr(card.get("id")) for card in listed) or "none"
        raise ModelNotFoundError(f"the server at {self.client.url} has no model {self.name!r}: it serves {names}")


def _transformers_tokenizer(name: str) -> Tokenizer:
    with required_packages(f"the tokenizer {name!r}", extra="transformers"):
        from nudging.models.tokenizer import TransformersTokenizer
    return TransformersTokenizer(name)
