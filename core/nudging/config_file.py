"""Config files: JSON objects with the arguments of a `Nudger`. `config.py` checks the arguments."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nudging.errors import OutputError, SettingsError

EXAMPLE = '{"base_model": "…", "nudging_model": "…", "threshold": 0.3}'


def read_object(path: str | Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        SettingsError: The file cannot be read, or has no JSON object.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError(
            f"cannot read the config file {str(path)!r}: {error.strerror or error}; give the path of a JSON file"
        ) from error
    except ValueError as error:  # not UTF-8, or a path with a null character
        raise SettingsError(f"the config file {str(path)!r} is not text in UTF-8: write JSON, {EXAMPLE}") from error
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"the config file {str(path)!r} is not JSON ({error}): write {EXAMPLE}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"the config file {str(path)!r} is JSON, but not an object: write {EXAMPLE}")
    return values


def write_object(path: str | Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object into a file, one value per line. A file that is there is replaced.

    Raises:
        OutputError: The file cannot be written.
    """
    text = json.dumps(values, ensure_ascii=False, indent=2, default=str)
    try:
        Path(path).expanduser().write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"cannot write the config file {str(path)!r}: {error.strerror or error}; choose another path"
        ) from error
