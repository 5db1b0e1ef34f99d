"""A line of the diagnosis, without secrets."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

Status: TypeAlias = Literal["ok", "note", "fail"]
"""`note` is worth a look. `fail` prevents an answer."""


@dataclass(frozen=True)
class Finding:
    """A line of the diagnosis.

    Args:
        status: "ok", "note" or "fail".
        name: The subject, in one or two words.
        text: The finding, and what to do if it is a problem. One line.
        data: The same in numbers and names, for programs.
    """

    status: Status
    name: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def without(self, secrets: Collection[str]) -> "Finding":
        """Return this finding in one line, with `…` for each secret and `~` for the user's home folder."""
        data = {name: _shown(value, secrets) if isinstance(value, str) else value for name, value in self.data.items()}
        return replace(self, text=" ".join(_shown(self.text, secrets).split()), data=data)


def size(count: float) -> str:
    """Return a number of bytes in MB or GB: `size(5e9)` is "5.0 GB"."""
    return f"{count / 1e9:.1f} GB" if count >= 999.5e6 else f"{count / 1e6:.0f} MB"


def amount(count: int) -> str:
    """Return a number of parameters in millions or billions: `amount(27_200_000_000)` is "27.2B"."""
    return f"{count / 1e9:.1f}B" if count >= 999.5e6 else f"{count / 1e6:.3g}M"


def _shown(text: str, secrets: Collection[str]) -> str:
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "…")
    home = str(Path.home())
    if len(home) > 1:  # a user without a home folder has "/"
        for separator in ("/", "\\"):
            text = text.replace(home + separator, "~" + separator)
    return text
