"""A model on a server, from what the server says about it."""

import sys

from nudging._extras import required_packages
from nudging.answer import Author
from nudging.diagnosis.facts import ModelFacts
from nudging.models.config import ModelConfig

TIMEOUT = 5.0
"""Maximum seconds to wait for a server."""


def read_server(config: ModelConfig, author: Author) -> ModelFacts:
    """Return the facts about a model on a server.

    Raises:
        ServerError: The server does not answer, or refuses the request.
        ModelNotFoundError: The server has no such model.
        UnsupportedModelError: The server has no tokenizer.
        MissingDependencyError: The package openai is not installed.
    """
    with required_packages(f"a model on a server ({config.url})", extra="openai"):
        from nudging.models.remote.model import RemoteModel
    model = RemoteModel(
        config.name,
        str(config.url),
        author=author,
        api_key=config.api_key,
        tokenizer=config.tokenizer,
        context_window=config.context_window,
        timeout=min(config.timeout, TIMEOUT),
        max_retries=0,
    )
    model.load()
    model.tokenizer.encode("Hello", special_tokens=True)
    context = model.context_length
    return ModelFacts(
        place=f"served by {model.server.kind} at {config.url}",
        runs_on="server",
        context=context if context < sys.maxsize else None,
        tokenizer=model.tokenizer,
    )
