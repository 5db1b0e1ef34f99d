"""GGUF files by name: a path, or a file in a repository of the hub."""

import re
from pathlib import Path

from nudging._extras import required_packages
from nudging.errors import ModelNotFoundError

_PARTS = re.compile(r"-00001-of-(\d{5})\.gguf$")
"""The end of the name of the first file of a model in several files. llama.cpp finds the others beside it."""


def is_gguf(name: str) -> bool:
    """Return True if a model's name is that of a GGUF file."""
    return name.lower().endswith(".gguf")


def gguf_file(name: str, revision: str | None = None) -> Path:
    """Return the path of a GGUF file, which is downloaded if it is on the hub and not in the hub's cache.

    Args:
        name: A path, or `repo:file.gguf`.
        revision: The revision of the hub repository.

    Raises:
        ModelNotFoundError: There is no such file, or it is not a GGUF file.
        MissingDependencyError: The package huggingface_hub is not installed.
    """
    path = Path(name).expanduser()
    repository, colon, file = name.partition(":")
    if not path.is_file() and colon and "/" in repository and not repository.startswith((".", "/", "~")):
        path = _downloaded(repository, file, revision)
    if not path.is_file():
        raise ModelNotFoundError(
            f"there is no GGUF file {name!r}: check the path, or write repo:file.gguf for a file on the hub"
        )
    with path.open("rb") as opened:
        if opened.read(4) != b"GGUF":
            raise ModelNotFoundError(f"{name!r} is not a GGUF file (it does not start with the bytes GGUF)")
    return path


def _downloaded(repository: str, file: str, revision: str | None) -> Path:
    with required_packages(f"{repository}:{file}", extra="llamacpp"):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    parts = _PARTS.search(file)
    names = [file]
    if parts:
        names = [f"{file[: parts.start()]}-{number:05}-of-{parts[1]}.gguf" for number in range(1, int(parts[1]) + 1)]
    try:
        first, *_ = [hf_hub_download(repository, one, revision=revision) for one in names]
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ModelNotFoundError(
            f"cannot download {file!r} from {repository!r}: {reason}. Check both names, and that this machine reaches "
            "the hub (a gated or private repository needs `hf auth login`)"
        ) from error
    return Path(first)
