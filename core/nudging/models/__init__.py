"""The models behind the seam of `model.py`: in this process (`local.py`), on a server (`remote.py`), or written out."""

from collections.abc import Hashable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from pydantic import SecretStr

from nudging.errors import MissingDependencyError, UnsupportedModelError
from nudging.models.base import Message, Model, Sampling, Session
from nudging.models.scripted import ScriptedModel

if TYPE_CHECKING:
    from nudging.models.local.model import LocalModel

__all__ = ["Message", "Model", "Sampling", "ScriptedModel", "Session", "load_model", "unload_models"]

_models: dict[Hashable, Model] = {}
_models_lock = Lock()


def load_model(
    name: str | Path,
    *,
    revision: str | None = None,
    dtype: str | None = None,
    device: str | None = None,
    device_map: str | dict[str, Any] | None = None,
    url: str | None = None,
    side: Literal["base", "nudging"] = "base",
    api_key: SecretStr | None = None,
    tokenizer: str | None = None,
    timeout: float = 60.0,
    max_retries: int = 6,
) -> Model:
    """The model of this name, one for all who ask for it alike. Its weights are loaded when it is first used.

    Args:
        name: A hub id, a folder, or a GGUF file.
        revision: Of the hub repository.
        dtype: "float32", "bfloat16" or "float16"; by default float32 on a CPU and the checkpoint's own elsewhere.
        device: As torch names it; by default the first accelerator, or the CPU.
        device_map: As in `from_pretrained`, to spread a model over several devices, in place of `device`.
        url: Of an OpenAI-compatible API, up to and with `/v1`, if the model is on a server. The name is the server's,
            and the arguments above are not for it.
        side: "base" or "nudging", for errors.
        api_key: If the server asks for one.
        tokenizer: Of a model on a server that does not tell of it: a hub id, a folder or a GGUF file.
        timeout: Seconds that a request may be without a word.
        max_retries: How often in a row a request may fail and be tried again.

    Raises:
        MissingDependencyError: transformers or torch is not installed; for a server, openai.
        SettingsError: The URL is none, or has a password in it.
    """
    if url is not None:
        served = (str(name), url, side, api_key, tokenizer, timeout, max_retries)
        with _models_lock:
            if served not in _models:
                _models[served] = _remote(*served)
            return _models[served]
    try:
        from nudging.models.local.model import LocalModel
    except ImportError as error:
        raise MissingDependencyError(
            f"a local model ({str(name)!r}) needs the package {error.name}: pip install 'nudging[transformers]'"
        ) from error
    options: dict[str, Any] = {"revision": revision, "dtype": dtype, "device": device, "device_map": device_map}
    key = repr((str(name), options))
    with _models_lock:
        return _models.setdefault(key, LocalModel(name, **options))


def _remote(
    name: str,
    url: str,
    side: Literal["base", "nudging"],
    api_key: SecretStr | None,
    tokenizer: str | None,
    timeout: float,
    max_retries: int,
) -> Model:
    try:
        from nudging.models.remote.model import RemoteModel
    except ImportError as error:
        raise MissingDependencyError(
            f"a model on a server ({url}) needs the package {error.name}: pip install 'nudging[openai]'"
        ) from error
    return RemoteModel(
        name, url, side=side, api_key=api_key, tokenizer=tokenizer, timeout=timeout, max_retries=max_retries
    )


def checked_local(model: Model, argument: str, why: str) -> "LocalModel":
    """The model, which has to be in this process.

    Args:
        model: Any.
        argument: What the caller calls it.
        why: What needs it to be here, and for what.

    Raises:
        UnsupportedModelError: It is elsewhere, or has no weights.
    """
    from nudging.models.local.model import LocalModel

    if not isinstance(model, LocalModel):
        raise UnsupportedModelError(
            f"{argument}={model.name!r} is a {type(model).__name__}, and {why}: give a hub id, a model folder or a "
            "GGUF file"
        )
    return model


def unload_models() -> None:
    """Let go of all models that `load_model` keeps; those in use live on until their users are done."""
    with _models_lock:
        _models.clear()
