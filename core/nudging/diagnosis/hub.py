"""Models on the hub: what is in the hub's cache, and what the hub says about the rest."""

from dataclasses import dataclass
from pathlib import Path

from nudging.errors import ModelNotFoundError

TIMEOUT = 5.0
"""Seconds to wait for the hub."""


@dataclass(frozen=True)
class HubModel:
    """A repository on the hub that is not in the cache.

    Args:
        parameters: Number of parameters, if the hub knows it.
        dtype: The type of most of them, in safetensors' notation, for example "BF16".
        architecture: The class of the model, if the hub knows it.
        size: Number of bytes of the weights, or of the one file asked for.
        gated: True if users have to accept terms first.
    """

    parameters: int | None
    dtype: str | None
    architecture: str | None
    size: int
    gated: bool


def cached_file(repository: str, file: str, revision: str | None) -> Path | None:
    """Return the path of a file in the hub's cache, or None if it is not there."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repository, file, revision=revision)
    except HFValidationError:  # not the id of a repository
        return None
    return Path(found) if isinstance(found, str) else None


def ask_hub(repository: str, revision: str | None, file: str | None = None) -> HubModel:
    """Return the hub's description of a model. Nothing is downloaded.

    Args:
        repository: The hub id.
        revision: The revision of the repository.
        file: The GGUF file in it that is meant; None for a model in transformers.

    Raises:
        ModelNotFoundError: The hub has no such model, or cannot be reached.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    name = f"{repository}:{file}" if file else repository
    if constants.HF_HUB_OFFLINE:
        raise ModelNotFoundError(
            f"{name!r} is not in the hub's cache, and HF_HUB_OFFLINE=1 keeps it from being downloaded: unset it, or "
            "give a folder or a GGUF file"
        )
    try:
        model = HfApi().model_info(repository, revision=revision, files_metadata=True, timeout=TIMEOUT)
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise ModelNotFoundError(
            f"neither this machine nor the hub has {name!r} ({_reason(error)}): check the name (a private repository "
            "needs `hf auth login`)"
        ) from None
    except Exception as error:  # of the HTTP client, which is another one in each version
        raise ModelNotFoundError(
            f"{name!r} is not in the hub's cache, and the hub cannot be reached ({_reason(error)}): check the "
            "connection, or give a folder or a GGUF file"
        ) from None
    endings = (file,) if file else (".safetensors",)
    files = [one for one in model.siblings or () if one.rfilename.endswith(endings)]
    if not files:
        raise ModelNotFoundError(
            f"the repository {repository!r} on the hub has no {file or 'safetensors'}: check the name"
        )
    counts = model.safetensors.parameters if model.safetensors else {}
    return HubModel(
        parameters=model.safetensors.total if model.safetensors else None,
        dtype=max(counts, key=lambda dtype: counts[dtype] or 0) if counts else None,
        architecture=next(iter((model.config or {}).get("architectures") or ()), None),
        size=sum(one.size or 0 for one in files),
        gated=bool(model.gated),
    )


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
