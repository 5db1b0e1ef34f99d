"""Pictures of what was measured."""

from pathlib import Path
from typing import Any

from nudging.display import CONTROL_CHARACTERS
from nudging.errors import MissingDependencyError
from nudging.evaluation.disagreement import Analysis

NUDGING, BASE = "#7a0f4b", "#8a8f98"


def pyplot() -> Any:
    """matplotlib, which is not imported before it is needed.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import matplotlib

        matplotlib.use("agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingDependencyError(
            f"a picture needs the package {error.name}: pip install 'nudging[eval]'"
        ) from error
    return pyplot


SHOWN_WORDS = 24


def analysis_tables(analysis: "Analysis") -> Any:
    """Disagreement by the base model's probability, what thresholds would do, and the most frequent nudging words."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    suggested = analysis.suggestion
    bins = Table("top-1 probability", "positions", "disagree", title="Where the models disagree")
    for one in analysis.bins:
        low, high = one.interval
        rate = f"{one.rate:.0%} ({low:.0%}-{high:.0%})" if one.positions else "-"
        bins.add_row(f"{one.low:.1f} to {one.high:.1f}", str(one.positions), rate)
    tried = Table("threshold", "disagreements under it", "misjudged", "nudge ratio", title="What a threshold would do")
    for threshold in analysis.thresholds:
        if threshold == suggested or round(threshold.value * 20) % 2 == 0:
            shares = [f"{share:.0%}" for share in (threshold.caught, threshold.misjudged, threshold.nudge_ratio)]
            tried.add_row(f"{threshold.value:.2f}", *shares, style="bold magenta" if threshold == suggested else None)
    words = analysis.nudging_words(suggested.value).most_common(SHOWN_WORDS)
    listed = " · ".join(f"{word} {count}" for word, count in words).replace("\n", "⏎").translate(CONTROL_CHARACTERS)
    return Group(
        bins,
        tried,
        Text(f"nudging words under {suggested.value:.2f}: {listed}"),
        Text(
            f"suggested threshold: {suggested.value:.2f}, with an expected nudge ratio of {suggested.nudge_ratio:.0%} "
            f"({len(analysis.readings)} answers, {len(analysis.positions)} positions)",
            style="bold",
        ),
    )


def draw_analysis(analysis: Analysis, path: Path) -> None:
    """Disagreement by the base model's probability, and what each threshold would do.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    figure, (left, right) = pyplot().subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    bins = [one for one in analysis.bins if one.positions]
    suggested = analysis.suggestion
    left.bar(
        [(one.low + one.high) / 2 for one in bins],
        [one.rate for one in bins],
        width=0.09,
        color=[NUDGING if (one.low + one.high) / 2 < suggested.value else BASE for one in bins],
        yerr=list(zip(*[(one.rate - one.interval[0], one.interval[1] - one.rate) for one in bins], strict=True)),
        ecolor="#333333",
    )
    left.set_xlabel("base model's top-1 probability")
    left.set_ylabel("share of disagreements (95% intervals)")
    tried = analysis.thresholds
    values = [one.value for one in tried]
    right.plot(values, [one.caught for one in tried], color=NUDGING, label="disagreements under it")
    right.plot(values, [one.nudge_ratio for one in tried], color=BASE, label="nudge ratio")
    right.plot(values, [one.misjudged for one in tried], color="#e0a84e", label="misjudged positions")
    right.axvline(suggested.value, color="#333333", linewidth=0.8, linestyle="--")
    right.set_xlabel("threshold γ (dashed: suggested)")
    right.legend(frameon=False, fontsize="small")
    for axes in (left, right):
        axes.set_ylim(0, 1)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=160)
    pyplot().close(figure)
