"""The abilities of a nudged model as LangChain's `ModelProfile`. No weights are loaded, and no server is asked."""

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from langchain_core.language_models import ModelProfile
from nudging import Model
from nudging.models.config import ModelConfig

CAPABILITIES = {
    "text_inputs": True,
    "text_outputs": True,
    "image_inputs": False,
    "audio_inputs": False,
    "video_inputs": False,
    "pdf_inputs": False,
    "image_tool_message": False,
    "pdf_tool_message": False,
    "reasoning_output": False,
    "image_outputs": False,
    "audio_outputs": False,
    "video_outputs": False,
    "tool_calling": True,
    "tool_choice": True,
    "tool_call_streaming": True,
    "structured_output": True,
    "attachment": False,
    "temperature": True,
}


def model_profile(base: ModelConfig, nudging: ModelConfig) -> ModelProfile:
    """Return the profile of a pair. `max_input_tokens` is left out if a model's context is not known yet."""
    known: Any = {name: value for name, value in CAPABILITIES.items() if name in ModelProfile.__annotations__}
    base_context, nudging_context = _context_length(base), _context_length(nudging)
    if base_context and nudging_context:
        known["max_input_tokens"] = min(base_context, nudging_context)
    profile: ModelProfile = known
    return profile


def _context_length(config: ModelConfig) -> int | None:
    """Return the context length of a model in this process, from its config alone."""
    if config.identity.get("url"):
        return None
    if isinstance(config.model, Model):
        length = config.model.context_length
        return length if length < sys.maxsize else None  # its config does not tell
    path = _config_path(str(config.model), config.revision)
    if path is None:
        return None
    document = json.loads(path.read_text())
    declared = document.get("text_config", document).get("max_position_embeddings")
    return declared if isinstance(declared, int) else None


def _config_path(name: str, revision: str | None) -> Path | None:
    """Return the config of a model in a folder or in the hub's cache."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder / "config.json"
    with suppress(ImportError, ValueError):  # without transformers, or not the id of a repository
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(name, "config.json", revision=revision)
        return Path(path) if isinstance(path, str) else None
    return None
