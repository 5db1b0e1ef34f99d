"""Models behind the seam of `base.py`: in this process (`local/`), on a server (`remote/`), or scripted for tests."""

from collections.abc import Hashable
from logging import WARNING
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from nudging._extras import required_packages
from nudging._logging import log_once
from nudging.answer import Author
from nudging.errors import UnsupportedModelError
from nudging.models.base import Model
from nudging.models.config import OPTIONS, ModelConfig
from nudging.models.gguf_files import is_gguf
from nudging.settings import checked

if TYPE_CHECKING:
    from nudging.models.decoding.model import InProcessModel

SERVER_OPTIONS = ("api_key", "tokenizer", "context_window", "timeout", "max_retries")
"""Fields of `ModelConfig` for models on servers only."""

_models: dict[Hashable, Model] = {}
_models_lock = Lock()


def load_model(name: str | Path | Model, *, author: Author = "base", **options: Any) -> Model:
    """Return the model of this name. All callers with equal options share one; its weights load at its first use.

    Args:
        name: A hub id, a folder, a GGUF file, a server's name for its model, or a `Model`, which is returned as it is.
        author: The model's part in the pair, for error messages.
        **options: The other fields of `ModelConfig`: revision; backend; dtype, device, device_map of transformers;
            n_ctx, n_gpu_layers, n_threads, lora of llama.cpp; url, api_key, tokenizer, context_window, timeout and
            max_retries of servers.

    Raises:
        SettingsError: An option is unknown or out of range.
        MissingDependencyError: The packages for this kind of model are not installed.
    """
    config = checked(ModelConfig, {"model": name, **options})
    config.check_backend()
    return shared_model(config, author)


def shared_model(config: ModelConfig, author: Author) -> Model:
    """Return the model of this configuration, one for all callers. Arguments and errors are those of `load_model`."""
    if isinstance(config.model, Model):
        return config.model
    # the identity has no secrets: a SecretStr hashes and never shows its value
    key: Hashable = (repr(config.identity), (config.model_kwargs or {}).get("token"))
    if config.url:  # a client of its own for every key and patience
        key = (key, author, config.api_key, config.timeout, config.max_retries)
    with _models_lock:
        if key not in _models:
            _models[key] = _remote_model(config, author) if config.url else _model_in_process(config)
        return _models[key]


def unload_models() -> None:
    """Forget all models that `load_model` shares. Those in use stay loaded until their users are done."""
    with _models_lock:
        _models.clear()


def require_local(model: Model, argument: str, reason: str) -> "InProcessModel":
    """Return the model if it is in this process.

    Args:
        model: Any model.
        argument: The caller's name for the model, for the error message.
        reason: Why the model has to be in this process, for the error message.

    Raises:
        UnsupportedModelError: The model is on a server, or has no weights.
    """
    with required_packages(reason, extra="transformers"):
        from nudging.models.decoding.model import InProcessModel

    if not isinstance(model, InProcessModel):
        raise UnsupportedModelError(
            f"{argument}={model.name!r} is a {type(model).__name__}, and {reason}: give a hub id, a model folder or a "
            "GGUF file"
        )
    return model


def _model_in_process(config: ModelConfig) -> Model:
    backend = config.backend_in_use or "transformers"
    options = {name: getattr(config, name) for name in ("revision", *OPTIONS[backend])}
    extra = "llamacpp" if is_gguf(config.name) else "transformers"
    if backend == "llamacpp":
        with required_packages(f"{config.name!r} in llama.cpp", extra):
            from nudging.models.llamacpp.model import LlamaCppModel
        return LlamaCppModel(config.name, **options)
    with required_packages(f"a local model ({config.name!r})", extra):
        from nudging.models.local.model import LocalModel
    if is_gguf(config.name) and config.backend is None:
        log_once(
            f"{config.name} is unpacked for torch, which takes several times its memory and is slower: "
            "pip install 'nudging[llamacpp]' runs it as it is",
            WARNING,
        )
    return LocalModel(config.name, **options)


def _remote_model(config: ModelConfig, author: Author) -> Model:
    with required_packages(f"a model on a server ({config.url})", extra="openai"):
        from nudging.models.remote.model import RemoteModel
    options = {name: getattr(config, name) for name in SERVER_OPTIONS}
    return RemoteModel(config.name, str(config.url), author=author, **options)
