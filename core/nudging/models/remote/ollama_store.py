"""The GGUF files in Ollama's store on this machine."""

import os
from logging import INFO
from pathlib import Path

from pydantic import BaseModel, ValidationError

from nudging._logging import log_once

DEFAULTS = ("registry.ollama.ai", "library")
"""The registry and the owner of models whose names have none."""

MODEL = "application/vnd.ollama.image.model"
"""The media type of the layer with the weights and the tokenizer."""


class _Layer(BaseModel):
    mediaType: str  # noqa: N815 (Ollama's name)
    digest: str


class _Manifest(BaseModel):
    layers: list[_Layer]


def stored_gguf(model: str) -> Path | None:
    """Return the GGUF file of a model in Ollama's store, or None if it is not there.

    Args:
        model: The name of the model in Ollama, for example "gemma3:270m".
    """
    store = Path(os.environ.get("OLLAMA_MODELS") or Path.home() / ".ollama" / "models")
    name, _, tag = model.partition(":")
    parts = name.split("/")
    manifest = store.joinpath("manifests", *DEFAULTS[: 3 - len(parts)], *parts, tag or "latest")
    try:
        layers = _Manifest.model_validate_json(manifest.read_bytes()).layers
    except (OSError, ValidationError):
        return None
    for layer in layers:
        file = store / "blobs" / layer.digest.replace(":", "-")
        if layer.mediaType == MODEL and file.is_file():
            log_once(f"the tokenizer of {model} is read from Ollama's store on this machine: {file}", INFO)
            return file
    return None
