"""Cross-origin requests of web pages from other hosts."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from nudging.errors import SettingsError

EXPOSED = ["retry-after", "x-request-id"] + [
    f"x-ratelimit-{value}-{kind}" for kind in ("requests", "tokens") for value in ("limit", "remaining", "reset")
]
"""The headers that scripts of other origins may read."""


def cors_options(origins: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of Starlette's `CORSMiddleware`.

    Args:
        origins: Origins such as "http://localhost:3000", or "*" for all.

    Raises:
        SettingsError: One is not an origin.
    """
    for origin in origins:
        if origin != "*" and not _is_origin(origin):
            raise SettingsError(
                f"{origin!r} is not an origin: write scheme and host, and the port if it has one, such as "
                "http://localhost:3000, or * for all"
            )
    return {
        "allow_origins": list(origins),
        "allow_methods": ["GET", "HEAD", "POST"],
        "allow_headers": ["*"],
        "expose_headers": EXPOSED,
    }


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    # browsers send the origin in lower case, without path and user
    return (
        bool(parts.scheme and parts.hostname) and text == f"{parts.scheme}://{parts.netloc}".lower() and "@" not in text
    )
