"""The models behind the seam of `model.py`: in this process (`local.py`), or written out (`scripted.py`)."""

from pathlib import Path
from threading import Lock
from typing import Any

from nudging.errors import MissingDependencyError
from nudging.models.model import Message, Model, Sampling, Session
from nudging.models.scripted import ScriptedModel

__all__ = ["Message", "Model", "Sampling", "ScriptedModel", "Session", "load_model", "unload_models"]

_models: dict[str, Model] = {}
_models_lock = Lock()


def load_model(
    name: str | Path,
    *,
    revision: str | None = None,
    dtype: str | None = None,
    device: str | None = None,
    device_map: str | dict[str, Any] | None = None,
) -> Model:
    """The model of this name, one for all who ask for it alike. Its weights are loaded when it is first used.

    Args:
        name: A hub id, a folder, or a GGUF file.
        revision: Of the hub repository.
        dtype: "float32", "bfloat16" or "float16"; by default float32 on a CPU and the checkpoint's own elsewhere.
        device: As torch names it; by default the first accelerator, or the CPU.
        device_map: As in `from_pretrained`, to spread a model over several devices, in place of `device`.

    Raises:
        MissingDependencyError: transformers or torch is not installed.
    """
    try:
        from nudging.models.local import LocalModel
    except ImportError as error:
        raise MissingDependencyError(
            f"a local model ({str(name)!r}) needs the package {error.name}: pip install 'nudging[transformers]'"
        ) from error
    options: dict[str, Any] = {"revision": revision, "dtype": dtype, "device": device, "device_map": device_map}
    key = repr((str(name), options))
    with _models_lock:
        return _models.setdefault(key, LocalModel(name, **options))


def unload_models() -> None:
    """Let go of all models that `load_model` keeps; those in use live on until their users are done."""
    with _models_lock:
        _models.clear()
