"""The logger `nudging`. A fallback is logged once, with its reason and what to do."""

import logging
from functools import lru_cache

log = logging.getLogger("nudging")


@lru_cache(maxsize=256)
def log_once(message: str, level: int = logging.WARNING) -> None:
    """Log a message, unless the same message was logged before."""
    log.log(level, message)
