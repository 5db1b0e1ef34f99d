"""A model's size, context and tokenizer, known without its weights."""

from dataclasses import dataclass

from nudging.models.base import Tokenizer


@dataclass(frozen=True)
class ModelFacts:
    """A model as it would be loaded.

    Args:
        place: Where it is, in words.
        runs_on: The library and the device that run it, or its server.
        devices: The names of the devices that it may be spread over; empty for a server.
        architecture: The name of its architecture.
        parameters: Number of parameters.
        dtype: The type of its weights in memory.
        weights: Number of bytes of its weights in memory.
        cache: Number of bytes of the KV cache per token.
        context: Maximum number of tokens of prompt and answer together.
        tokenizer: Its tokenizer, which renders its chat template. None if it cannot be loaded in a moment.
        has_template: True if it has a chat template, None if that is not known.
        to_download: Number of bytes to download before it can be used.
        warning: Something that makes it slower or larger than it has to be.
    """

    place: str
    runs_on: str
    devices: frozenset[str] = frozenset()
    architecture: str | None = None
    parameters: int | None = None
    dtype: str | None = None
    weights: int | None = None
    cache: int | None = None
    context: int | None = None
    tokenizer: Tokenizer | None = None
    has_template: bool | None = None
    to_download: int | None = None
    warning: str | None = None
