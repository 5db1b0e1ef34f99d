"""The demo pair: installed or not, and where its models are."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from nudging._extras import required_packages
from nudging.answer import Author
from nudging.diagnosis.finding import Finding
from nudging.errors import ModelError, ModelNotFoundError
from nudging.models.config import Backend

BACKENDS: Mapping[str, Backend] = {"transformers": "transformers", "llama.cpp": "llamacpp"}


def diagnose_demo() -> Finding:
    """Return the line on the demo pair."""
    try:
        ready = [name for name, backend in BACKENDS.items() if _is_built(backend)]
        if ready:
            return Finding("ok", "demo pair", f"ready for {' and '.join(ready)}", {"ready": ready})
        check_demo_installed()
    except ModelError as error:
        return Finding("note", "demo pair", str(error), {"ready": []})
    return Finding("ok", "demo pair", "installed; its first answer converts it, which takes a minute", {"ready": []})


def check_demo_installed() -> None:
    """Raise if a package of the demo pair is missing.

    Raises:
        ModelNotFoundError: A package is not installed. The message says how to install it.
        MissingDependencyError: No extra is installed that can run the demo pair.
    """
    with required_packages("the demo pair", extra="llamacpp"):
        from nudging.models.demo import BASE_PACKAGES, NUDGING_PACKAGE, install_command
    packages = (NUDGING_PACKAGE, *BASE_PACKAGES)
    try:
        for package in packages:
            distribution(package)
    except PackageNotFoundError as error:
        raise ModelNotFoundError(f"not installed ({error.name} is missing): {install_command(packages)}") from None


def demo_place(author: Author, backend: Backend | None) -> Path:
    """Return where a model of the demo pair is once it is converted.

    Raises:
        MissingDependencyError: No extra is installed that can run the demo pair.
    """
    with required_packages("the demo pair", extra="llamacpp"):
        from nudging.models.demo import BASE, NUDGING, model_path
    return model_path(BASE if author == "base" else NUDGING, backend)


def _is_built(backend: Backend) -> bool:
    return all(demo_place(author, backend).exists() for author in ("base", "nudging"))
