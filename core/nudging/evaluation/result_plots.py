"""Pictures of an evaluation: scores and nudge ratios of all tasks, and both against the threshold."""

from collections.abc import Callable, Sequence
from pathlib import Path

from nudging.evaluation.plots import COLOURS, INK, NUDGES, error_bars, figure, save
from nudging.evaluation.results import Interval, RunConfig, TaskResult, run_configs_of, tasks_of

Value = Callable[[TaskResult], Interval | None]


def draw_all(results: Sequence[TaskResult], folder: Path) -> list[Path]:
    """Draw every picture that these results have data for, and return the paths.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OSError: A file cannot be written.
    """
    drawn = [_draw_bars(results, _score, "score (bars: 95% intervals)", folder / "accuracy.png")]
    nudged = [result for result in results if result.nudge_ratio]
    if nudged:
        label = "share of tokens that the nudging model wrote (bars: 95% intervals)"
        drawn.append(_draw_bars(nudged, _nudge_ratio, label, folder / "nudge_ratio.png"))
    if len({result.run_config.threshold for result in nudged}) > 1:
        drawn.append(_draw_thresholds(nudged, folder / "thresholds.png"))
    return drawn


def _draw_bars(results: Sequence[TaskResult], value: Value, label: str, path: Path) -> Path:
    """Draw a value of every task, with one bar per run configuration."""
    tasks, run_configs = tasks_of(results), run_configs_of(results)
    height = 1.2 + 0.13 * len(tasks) * (len(run_configs) + 1.5)
    drawn, (axes,) = figure(7, height)
    thickness = 0.8 / len(run_configs)
    for number, config in enumerate(run_configs):
        by_task = {result.task: value(result) for result in results if result.run_config == config}
        bars = [(row, interval) for row, task in enumerate(tasks) if (interval := by_task.get(task))]
        axes.barh(
            [-row + 0.4 - (number + 0.5) * thickness for row, _ in bars],
            [interval.mean for _, interval in bars],
            height=thickness * 0.9,
            xerr=error_bars([interval.as_tuple() for _, interval in bars]),
            color=COLOURS[config.method],
            alpha=_alpha(config, run_configs),
            error_kw={"ecolor": INK, "lw": 0.8},
            label=config.label,
        )
    titles = [_title(task, results) for task in tasks] if value is _score else tasks
    axes.set_yticks([-row for row in range(len(tasks))], titles)
    axes.set_xlim(0, 1)
    axes.set_ylim(0.6 - len(tasks), 0.6)
    axes.set_xlabel(label)
    above = (0.45, 1 + 0.5 / height)
    axes.legend(loc="upper center", bbox_to_anchor=above, ncols=3, frameon=False, fontsize=8)
    return save(drawn, path)


def _draw_thresholds(results: Sequence[TaskResult], path: Path) -> Path:
    """Draw score and nudge ratio against the threshold, with one panel per task."""
    tasks = tasks_of(results)
    columns = min(4, len(tasks))
    rows = -(-len(tasks) // columns)
    drawn, panels = figure(1 + 2.2 * columns, 0.6 + 1.9 * rows, rows, columns)
    for number, axes in enumerate(panels):
        axes.set_visible(number < len(tasks))
    for task, axes in zip(tasks, panels, strict=False):
        of_task = [result for result in results if result.task == task]
        of_task.sort(key=lambda result: result.run_config.threshold or 0)
        for value, colour, label in ((_score, COLOURS["nudged"], "score"), (_nudge_ratio, NUDGES, "nudge ratio")):
            points = [(result.run_config.threshold, interval) for result in of_task if (interval := value(result))]
            axes.errorbar(
                [threshold for threshold, _ in points],
                [interval.mean for _, interval in points],
                yerr=error_bars([interval.as_tuple() for _, interval in points]),
                color=colour,
                marker="o",
                ms=3,
                lw=1.2,
                elinewidth=0.7,
                label=label,
            )
        axes.set_title(_title(task, results), fontsize=9)
        axes.set_ylim(-0.03, 1.03)
        axes.tick_params(labelsize=7)
    drawn.supxlabel("threshold γ (bars: 95% intervals)", fontsize=9)
    lines = panels[0].get_legend_handles_labels()
    drawn.legend(*lines, loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return save(drawn, path)


def _title(task: str, results: Sequence[TaskResult]) -> str:
    """Return a task's name, followed by the measure of its score unless that is accuracy."""
    measure = next(result.measure for result in results if result.task == task)
    return task if measure == "accuracy" else f"{task} ({measure})"


def _score(result: TaskResult) -> Interval | None:
    return result.score


def _nudge_ratio(result: TaskResult) -> Interval | None:
    return result.nudge_ratio


def _alpha(config: RunConfig, run_configs: Sequence[RunConfig]) -> float:
    """Return the opacity of a bar: thresholds of one method share its colour and differ in opacity."""
    same_method = [other for other in run_configs if other.method == config.method]
    return 0.35 + 0.65 * (same_method.index(config) + 1) / len(same_method)
