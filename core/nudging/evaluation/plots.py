"""Figures for all pictures: matplotlib without pyplot, so that the user's matplotlib backend stays as it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nudging._extras import required_packages

COLOURS: Mapping[str, str] = {
    "base": "#8a8f98",
    "nudging": "#e0a84e",
    "nudged": "#2f7d5b",
    "ensemble": "#7a6fb0",
    "proxy": "#b5576f",
}
"""The colour of each method."""

NUDGES = "#7a0f4b"
"""The colour of text by the nudging model, and of disagreement."""

INK = "#333333"
"""The colour of error bars and marks."""


def require_matplotlib() -> None:
    """Raise if matplotlib is not installed.

    Raises:
        MissingDependencyError: It is not installed.
    """
    with required_packages("a picture", extra="plot"):
        import matplotlib  # noqa: F401


def figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, list[Any]]:
    """Return a new figure and its axes, row by row.

    Args:
        width: The width, in inches.
        height: The height, in inches.
        rows: The number of rows of axes.
        columns: The number of axes in a row.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    axes = list(drawn.subplots(rows, columns, squeeze=False).flat)
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return drawn, axes


def save(drawn: Any, path: Path) -> Path:
    """Write a figure to a file and return the file's path.

    Raises:
        OSError: The file cannot be written.
    """
    drawn.savefig(path, dpi=160)
    return path


def error_bars(intervals: Sequence[tuple[float, float, float]]) -> list[list[float]]:
    """Return the lengths of the error bars below and above each mean, shape [2, n].

    Args:
        intervals: (mean, low, high) of each bar.
    """
    return [
        [max(0.0, mean - low) for mean, low, _ in intervals],
        [max(0.0, high - mean) for mean, _, high in intervals],
    ]
