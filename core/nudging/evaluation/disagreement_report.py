"""An analysis of disagreement as tables for the terminal and as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nudging.display import CONTROL_CHARACTERS
from nudging.evaluation.disagreement import Analysis, Bin, Threshold
from nudging.evaluation.plots import COLOURS, INK, NUDGES, error_bars, figure, save

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

MAX_WORDS = 24
"""Maximum number of nudging words that are listed."""

MUCH_NUDGED = 0.2
"""Pairs that are nudged at a larger share of their tokens fail systematically (arXiv 2606.11201)."""


def nudge_warning(nudge_ratio: float) -> str:
    """Return a warning if the nudging model writes too much of the answers, else an empty string."""
    if nudge_ratio <= MUCH_NUDGED:
        return ""
    return (
        f"The pair is nudged at {nudge_ratio:.0%} of its tokens. Pairs that are nudged at more than a fifth fail "
        "systematically (arXiv 2606.11201): try a larger base model, a lower threshold or another rule."
    )


def disagreement_tables(analysis: Analysis) -> "Group":
    """Return tables of disagreement by probability and of thresholds, the nudging words and the suggested threshold."""
    from rich.console import Group
    from rich.text import Text

    suggested = analysis.suggestion
    words = analysis.nudging_words(suggested.value).most_common(MAX_WORDS)
    listed = " · ".join(f"{word} {count}" for word, count in words).replace("\n", "⏎").translate(CONTROL_CHARACTERS)
    return Group(
        _bin_table(analysis.bins),
        _threshold_table(analysis.thresholds, suggested),
        Text(f"nudging words below {suggested.value:.2f}: {listed}"),
        Text(
            f"suggested threshold: {suggested.value:.2f}, with an expected nudge ratio of {suggested.nudge_ratio:.0%} "
            f"({len(analysis.comparisons)} answers, {len(analysis.positions)} positions)",
            style="bold",
        ),
        *([Text(warning, style="yellow")] if (warning := nudge_warning(suggested.nudge_ratio)) else []),
    )


def _bin_table(bins: Sequence[Bin]) -> "Table":
    from rich.table import Table

    table = Table("top-1 probability", "positions", "disagree", title="Where the models disagree")
    for one in bins:
        low, high = one.interval
        rate = f"{one.rate:.0%} ({low:.0%}-{high:.0%})" if one.positions else "-"
        table.add_row(f"{one.low:.1f} to {one.high:.1f}", str(one.positions), rate)
    return table


def _threshold_table(thresholds: Sequence[Threshold], suggested: Threshold) -> "Table":
    """Return a table of every second threshold and the suggested one."""
    from rich.table import Table

    table = Table("threshold", "disagreements below it", "misjudged", "nudge ratio", title="The effect of a threshold")
    for threshold in thresholds:
        if threshold == suggested or round(threshold.value * 20) % 2 == 0:
            shares = [f"{share:.0%}" for share in (threshold.caught, threshold.misjudged, threshold.nudge_ratio)]
            table.add_row(f"{threshold.value:.2f}", *shares, style="bold magenta" if threshold == suggested else None)
    return table


def draw_disagreement(analysis: Analysis, path: Path) -> None:
    """Draw disagreement by the base model's probability, and the effect of each threshold.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    drawn, (left, right) = figure(9, 3.4, columns=2)
    bins = [one for one in analysis.bins if one.positions]
    middles = [(one.low + one.high) / 2 for one in bins]
    suggested = analysis.suggestion.value
    left.bar(
        middles,
        [one.rate for one in bins],
        width=0.09,
        color=[NUDGES if middle < suggested else COLOURS["base"] for middle in middles],
        yerr=error_bars([(one.rate, *one.interval) for one in bins]),
        ecolor=INK,
    )
    left.set_xlabel("base model's top-1 probability")
    left.set_ylabel("share of disagreements (95% intervals)")
    thresholds = analysis.thresholds
    values = [one.value for one in thresholds]
    right.plot(values, [one.caught for one in thresholds], color=NUDGES, label="disagreements below it")
    right.plot(values, [one.nudge_ratio for one in thresholds], color=COLOURS["base"], label="nudge ratio")
    right.plot(values, [one.misjudged for one in thresholds], color=COLOURS["nudging"], label="misjudged positions")
    right.axvline(suggested, color=INK, linewidth=0.8, linestyle="--")
    right.set_xlabel("threshold γ (dashed: suggested)")
    right.legend(frameon=False, fontsize="small")
    for axes in (left, right):
        axes.set_ylim(0, 1)
    save(drawn, path)
