"""The tokenizer of a server, through its /tokenize and /detokenize endpoints."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import jinja2

from nudging.errors import ChatTemplateError, ServerError, UnsupportedModelError
from nudging.models.base import Tokenizer
from nudging.models.remote.client import Client
from nudging.prompting.conversation import Message
from nudging.prompting.instructions import with_tools
from nudging.prompting.templates import render_template

CACHED_TEXTS = 4096
"""Number of texts whose tokens are cached."""


class ServerTokenizer(Tokenizer):
    """Tokenizes and renders on the server of the model.

    Args:
        client: The client of the server.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
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
        conversation = {"messages": [dict(message) for message in messages], "add_generation_prompt": True}
        try:
            tokens = self._post("/tokenize", {**conversation, "add_special_tokens": False})["tokens"]
            return str(self._post("/detokenize", {"tokens": tokens})["prompt"])
        except (ServerError, UnsupportedModelError, KeyError) as error:
            raise ChatTemplateError(
                f"the server at {self._client.url} does not render the conversation ({error}): name the model's "
                "tokenizer as nudging_tokenizer='…' (a hub id or a folder), or pass nudging_template='…' (Jinja)"
            ) from error

    def _request_tokens(self, text: str, special_tokens: bool) -> tuple[int, ...]:
        # the field names of vLLM and of llama.cpp
        body = {"prompt": text, "content": text, "add_special_tokens": special_tokens, "add_special": special_tokens}
        return tuple(self._post("/tokenize", body)["tokens"])

    def _post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            found = self._client.post(path, body)
        except ServerError as error:
            raise self._lacks(path) if error.status == 404 else error from None
        if not isinstance(found, Mapping):
            raise self._lacks(path)
        return found

    def _lacks(self, path: str) -> UnsupportedModelError:
        return UnsupportedModelError(
            f"the server at {self._client.url} has no {path}, which is needed to count tokens: name the model's "
            f"tokenizer as {self._client.author}_tokenizer='…' (a hub id or a folder)"
        )
