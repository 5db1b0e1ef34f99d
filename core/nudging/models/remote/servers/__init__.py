"""The kinds of servers, one module each: what they are asked, how they answer, what they lack."""

from collections.abc import Sequence
from pathlib import PureWindowsPath
from typing import Any, Literal

from pydantic import BaseModel, RootModel, model_validator

from nudging._logging import log_once
from nudging.errors import ModelNotFoundError, ServerError
from nudging.models.gguf_files import is_gguf
from nudging.models.remote.client import Client
from nudging.models.remote.servers.completions import CompletionsServer
from nudging.models.remote.servers.llama_cpp_python import LlamaCppPythonServer
from nudging.models.remote.servers.llamacpp import LlamaCppServer
from nudging.models.remote.servers.ollama import OllamaServer
from nudging.models.remote.servers.server import Card, Server
from nudging.models.remote.servers.sglang import SglangServer
from nudging.models.remote.servers.tgi import TgiServer
from nudging.models.remote.servers.vllm import VllmServer

OWNERS: dict[str, type[Server]] = {
    "llamacpp": LlamaCppServer,
    "me": LlamaCppPythonServer,
    "sglang": SglangServer,
    "vllm": VllmServer,
}
"""The kinds of servers, by the owner that they give their models in `/v1/models`."""


class _Models(BaseModel):
    """The answer of `/v1/models`: OpenAI's object, or a bare array as some hosts send it."""

    data: list[Card] | None
    has_more: bool = False

    @model_validator(mode="before")
    @classmethod
    def _accept_array(cls, found: Any) -> Any:
        return {"data": found} if isinstance(found, list) else found


class _TgiInfo(BaseModel):
    router: Literal["text-generation-router"]


class _OllamaRoot(RootModel[Literal["Ollama is running"]]):
    pass


def server_of(client: Client) -> Server:
    """Return the server of a client. `/v1/models` tells its kind, or else two more requests.

    Raises:
        ServerError: The server does not answer.
        ModelNotFoundError: It has no model of this name.
        UnsupportedModelError: It is no server of language models.
    """
    try:
        models = client.get("/v1/models", _Models)
    except ServerError as error:
        if error.status not in (404, 405, 501):
            raise
        return _unlisted(client, "does not list its models (/v1/models)")
    cards = models.data or []
    if card := _card(client.model, cards):
        return _kind_of(client, card)(client, card)
    if models.has_more:
        return _unlisted(client, "lists only a part of its models")
    names = ", ".join(repr(card.id) for card in cards) or "none"
    raise ModelNotFoundError(f"the server at {client.url} has no model {client.model!r}: it serves {names}")


def _card(name: str, cards: Sequence[Card]) -> Card | None:
    """Return the description of a model, found by its full name if there is one, or else by another name of it."""
    known = {card.id: card for card in cards}
    for card in cards:
        others = [card.id.removesuffix(":latest"), *(card.aliases or ())]
        if is_gguf(card.id):
            others.append(PureWindowsPath(card.id).name)  # takes both kinds of slashes
        for other in others:
            known.setdefault(other, card)
    return known.get(name)


def _kind_of(client: Client, card: Card) -> type[Server]:
    return OWNERS.get(card.owned_by or "") or _kind_by_endpoints(client)


def _kind_by_endpoints(client: Client) -> type[Server]:
    if client.answers("/info", _TgiInfo):
        return TgiServer
    return OllamaServer if client.answers("/", _OllamaRoot) else CompletionsServer


def _unlisted(client: Client, reason: str) -> Server:
    """Return a server that does not say if it has the model."""
    kind = _kind_by_endpoints(client)
    log_once(
        f"the {client.author} server at {client.url} {reason}: it is taken for {kind.kind}, and the name "
        f"{client.model!r} is not checked"
    )
    return kind(client, Card(id=client.model))
