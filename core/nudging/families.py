"""Thresholds for families of base models, found by the model's name.

Source: Fei, Razeghi, Singh, "Nudging: Inference-time Alignment of LLMs via Guided Decoding", arXiv 2410.09300. The
paper uses γ = 0.4 for Llama-2, and 0.3 for Gemma-2 and OLMo. Later generations of these families are not in the paper.
"""

import re
from typing import NamedTuple


class Family(NamedTuple):
    """A family of base models, and the threshold that the paper uses for it."""

    name: str
    pattern: re.Pattern[str]
    """Matches a part of the names of its models, in lower case and with `-` for `_` and spaces."""
    threshold: float


FAMILIES = (
    Family("Llama-2", re.compile(r"(?<![a-z])llama-?2(?!\d|\.\d|b)"), 0.4),
    # gemma-2b is the first Gemma with 2 billion parameters
    Family("Gemma-2", re.compile(r"(?<![a-z])gemma-?2(?!\d|\.\d|b)"), 0.3),
    # olmo-7b is the first OLMo with 7 billion parameters, and olmo-2-… and olmo-3.1-… are later ones
    Family("OLMo", re.compile(r"(?<![a-z])olmo(?![a-z]|-?[2-9](?!b))"), 0.3),
)
"""The families of the paper."""

_CACHED = re.compile(r"(?:^|/)models--(?P<repository>[^/]+)/snapshots/[^/]+$")
"""The folder of a repository in the hub's cache. The name of the folder itself is a commit."""


def family_of(model: str) -> Family | None:
    """Return the family that the name of a base model names, or None.

    The family is looked for in the last part of a hub id or a path, because the folders above may name anything. For a
    GGUF file on the hub, `repo:file.gguf`, the repository's name is used if the file's name has no family.

    Args:
        model: A hub id, a folder, a GGUF file, or a server's name for the model.
    """
    name = model.replace("\\", "/").rstrip("/")
    if cached := _CACHED.search(name):
        name = cached["repository"].replace("--", "/")
    repository, colon, file = name.rpartition(":")
    for part in (file, repository) if colon else (name,):
        last = re.sub(r"[_ ]", "-", part.rpartition("/")[2].lower())
        for family in FAMILIES:
            if family.pattern.search(last):
                return family
    return None
