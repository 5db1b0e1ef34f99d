"""The folder in the user's cache for models that are built once: converted files, the demo models."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

Progress = Callable[[str], None]
"""Called with the name of each stage before it starts."""


def cache_folder() -> Path:
    """Return the folder of converted models: `$NUDGING_CACHE`, or `nudging` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("NUDGING_CACHE") or f"{base}/nudging").expanduser()


def build_folder(name: str, build: Callable[[Path], Any]) -> Path:
    """Return the folder of this name in the cache. If it is missing, `build` fills it, completely or not at all."""
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    cache_folder().mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():  # another process may have built it in the meantime
            unfinished = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=cache_folder()))
            try:
                build(unfinished)
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder
