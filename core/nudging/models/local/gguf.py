"""GGUF files as models: converted once to a folder of safetensors, and kept in the user's cache.

Reading a large vocabulary out of a GGUF file takes over a minute, so it is not done at every start.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock

from nudging.errors import MissingDependencyError, ModelNotFoundError

Progress = Callable[[str], None]


def cache_folder() -> Path:
    """Where converted models are kept: `$NUDGING_CACHE`, or `nudging` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("NUDGING_CACHE") or f"{base}/nudging").expanduser()


def converted(gguf: Path, progress: Progress = lambda stage: None) -> Path:
    """The folder with this GGUF file's weights and tokenizer, converted if it is not there yet.

    Args:
        gguf: The file. A file of the same name with other content gets another folder.
        progress: Told of each stage before it begins: reading the tokenizer, the weights, writing.

    Raises:
        ModelNotFoundError: There is no such file, or it is no GGUF file.
        MissingDependencyError: The package gguf is not installed.
    """
    if not gguf.is_file():
        raise ModelNotFoundError(f"there is no GGUF file {str(gguf)!r}: check the path")
    with gguf.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelNotFoundError(f"{str(gguf)!r} is not a GGUF file (it does not begin with GGUF)")
    stat = gguf.stat()
    fingerprint = sha256(f"{gguf.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:12]
    return build_folder(f"{gguf.stem}-{fingerprint}", lambda folder: convert(gguf, folder, progress))


def build_folder(name: str, build: Callable[[Path], Any]) -> Path:
    """The folder of this name in the cache; `build` fills it if it is not there, wholly or not at all."""
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    cache_folder().mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():  # another process may have built it meanwhile
            unfinished = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=cache_folder()))
            try:
                build(unfinished)
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def convert(gguf: Path, folder: Path, progress: Progress) -> None:
    """Write the weights (float32) and the tokenizer of a GGUF file into a folder, as `from_pretrained` reads them."""
    try:
        import gguf as _  # noqa: F401 (transformers needs it, and fails with a less helpful message)
    except ImportError:
        raise MissingDependencyError("GGUF files need the package gguf: pip install 'nudging[transformers]'") from None
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    progress("reading the weights")
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    # transformers marks the model as quantized and then refuses to save it
    model.hf_quantizer, model.is_quantized = None, False  # type: ignore[assignment]
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    progress("reading the tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(**source)
    progress("writing safetensors")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
