"""Pictures of what was measured."""

from pathlib import Path
from typing import Any

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
