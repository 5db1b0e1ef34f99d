"""What came out of an evaluation, to look at."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nudging.evaluation.results import Cell, Interval, Way, tasks_of, ways_of

COLOURS = {"base": "#8a8f98", "nudging": "#e0a84e", "nudged": "#2f7d5b", "ensemble": "#7a6fb0", "proxy": "#b5576f"}
"""Of every method."""

NUDGES = "#7a0f4b"
"""Of what the nudging model wrote."""


def draw_all(cells: Sequence[Cell], folder: Path) -> list[Path]:
    """Every picture there is something to draw of: their paths."""
    drawn = [_scores(cells, folder / "accuracy.png")]
    nudged = [cell for cell in cells if cell.nudge_ratio]
    if nudged:
        drawn.append(_nudge_ratios(nudged, folder / "nudge_ratio.png"))
    if len({cell.way.threshold for cell in nudged}) > 1:
        drawn.append(_thresholds(nudged, folder / "thresholds.png"))
    return drawn


def _scores(cells: Sequence[Cell], path: Path) -> Path:
    """The score of every method on every task, with 95% intervals."""
    return _bars(cells, _score, "score (bars: 95% intervals)", path)


def _nudge_ratios(cells: Sequence[Cell], path: Path) -> Path:
    """How much the nudging model wrote, of every task."""
    return _bars(cells, _nudge_ratio, "share of tokens that the nudging model wrote (bars: 95% intervals)", path)


def _bars(cells: Sequence[Cell], what: Callable[[Cell], Interval], label: str, path: Path) -> Path:
    tasks, ways = tasks_of(cells), ways_of(cells)
    height = 1.2 + 0.13 * len(tasks) * (len(ways) + 1.5)
    figure, (axes,) = _figure(7, height)
    thick = 0.8 / len(ways)
    for number, way in enumerate(ways):
        of = {cell.task: what(cell) for cell in cells if cell.way == way}
        shown = [(place, interval) for place, task in enumerate(tasks) if (interval := of.get(task))]
        axes.barh(
            [-place + 0.4 - (number + 0.5) * thick for place, _ in shown],
            [interval.mean for _, interval in shown],
            height=thick * 0.9,
            xerr=_errors([interval for _, interval in shown]),
            color=COLOURS[way.method],
            alpha=_alpha(way, ways),
            error_kw={"ecolor": "#333333", "lw": 0.8},
            label=way.label,
        )
    axes.set_yticks(
        [-place for place in range(len(tasks))], [_titled(task, cells) for task in tasks] if what is _score else tasks
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0.6 - len(tasks), 0.6)
    axes.set_xlabel(label)
    above = (0.45, 1 + 0.5 / height)
    axes.legend(loc="upper center", bbox_to_anchor=above, ncols=3, frameon=False, fontsize=8)
    return _save(figure, path)


def _thresholds(cells: Sequence[Cell], path: Path) -> Path:
    """Score and nudge ratio against the threshold, a panel for every task."""
    tasks = tasks_of(cells)
    columns = min(4, len(tasks))
    rows = -(-len(tasks) // columns)
    figure, panels = _figure(1 + 2.2 * columns, 0.6 + 1.9 * rows, rows, columns)
    for place, axes in enumerate(panels):
        axes.set_visible(place < len(tasks))
    for task, axes in zip(tasks, panels, strict=False):
        of = sorted((cell for cell in cells if cell.task == task), key=lambda cell: cell.way.threshold or 0)
        for what, colour, label in ((_score, COLOURS["nudged"], "score"), (_nudge_ratio, NUDGES, "nudge ratio")):
            intervals = [what(cell) for cell in of]
            axes.errorbar(
                [cell.way.threshold for cell in of],
                [interval.mean for interval in intervals],
                yerr=_errors(intervals),
                color=colour,
                marker="o",
                ms=3,
                lw=1.2,
                elinewidth=0.7,
                label=label,
            )
        axes.set_title(_titled(task, cells), fontsize=9)
        axes.set_ylim(-0.03, 1.03)
        axes.tick_params(labelsize=7)
    figure.supxlabel("threshold γ (bars: 95% intervals)", fontsize=9)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False, fontsize=9
    )
    return _save(figure, path)


def _titled(task: str, cells: Sequence[Cell]) -> str:
    """A task's name, with what its score is if that is not accuracy."""
    measure = next(cell.measure for cell in cells if cell.task == task)
    return task if measure == "accuracy" else f"{task} ({measure})"


def _score(cell: Cell) -> Interval:
    return cell.score


def _nudge_ratio(cell: Cell) -> Interval:
    assert cell.nudge_ratio is not None  # noqa: S101 (only nudged cells are drawn so)
    return cell.nudge_ratio


def _alpha(way: Way, ways: Sequence[Way]) -> float:
    """Thresholds of one method are told apart by how strong its colour is."""
    alike = [other for other in ways if other.method == way.method]
    return 0.35 + 0.65 * (alike.index(way) + 1) / len(alike)


def _errors(intervals: Sequence[Interval]) -> list[list[float]]:
    """Lengths of the error bars to either side."""
    return [
        [max(0.0, interval.mean - interval.low) for interval in intervals],
        [max(0.0, interval.high - interval.mean) for interval in intervals],
    ]


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, list[Any]]:
    """A figure and its panels, row by row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # not pyplot's: a program may have windows of its own
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=160)
    return path
