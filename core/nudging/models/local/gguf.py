"""Convert GGUF files once to folders of safetensors, in the user's cache.

Reading a large vocabulary from a GGUF file takes over a minute, too long for every start.
"""

from hashlib import sha256
from pathlib import Path
from typing import Any

from nudging._extras import required_packages
from nudging._logging import log
from nudging.models.cache_folder import Progress, build_folder, cache_folder
from nudging.models.gguf_files import gguf_file


def converted(gguf: Path, progress: Progress | None = None) -> Path:
    """Return the folder with this GGUF file's weights and tokenizer. Convert the file the first time.

    Args:
        gguf: The file. A file of the same name with other content gets another folder.
        progress: Called with the name of each stage before it starts. By default the conversion is logged.

    Raises:
        ModelNotFoundError: There is no such file, or it is not a GGUF file.
        MissingDependencyError: The package gguf is not installed.
    """
    gguf = gguf_file(str(gguf))
    stat = gguf.stat()
    fingerprint = sha256(f"{gguf.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:12]
    name = f"{gguf.stem}-{fingerprint}"

    def build(folder: Path) -> None:
        if progress is None:
            log.warning("converting %s to float32 in %s, once; this takes a minute or two", gguf, cache_folder() / name)
        convert(gguf, folder, progress or (lambda stage: None))

    return build_folder(name, build)


def convert(gguf: Path, folder: Path, progress: Progress) -> None:
    """Write the weights (in float32) and the tokenizer of a GGUF file into a folder for `from_pretrained`."""
    with required_packages("a GGUF file", extra="transformers"):
        import gguf as _  # noqa: F401 (transformers needs it, and fails with a less helpful message)
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

    source: dict[str, Any] = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    progress("reading the weights")
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    # transformers marks the model as quantized, and refuses to save such a model
    model.hf_quantizer, model.is_quantized = None, False  # type: ignore[assignment]
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    progress("reading the tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(**source)
    progress("writing safetensors")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
