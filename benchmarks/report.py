"""The lines, the tables and the picture of `speed.py`."""

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from statistics import median

from nudging.models.config import Backend
from rich.box import SIMPLE_HEAD
from rich.table import Table
from systems import SYSTEMS, Run

COLOURS = ("#8a8f98", "#c3c7cd", "#e0a84e", "#8fbfa6", "#2f7d5b")
"""The colours of `SYSTEMS` in the picture."""

MORE_COLOURS = ("#5b7fa6", "#a65b7f", "#7f5ba6")
"""The colours of further settings."""

HATCHES: dict[Backend, str] = {"llamacpp": "", "transformers": "////"}
"""The pattern of each backend's bars in the picture."""


def line(runs: Sequence[Run]) -> str:
    """Return one line about the last run."""
    run = runs[-1]
    rate = run.tokens / run.total
    alone = [one for one in runs if _key(one)[:3] == _key(run)[:3] and one.system == "base alone"]
    ratio = f", {rate / _rate(alone):.2f}x base alone" if alone and run.system != "base alone" else ""
    return (
        f"{run.kind} {run.prompt + 1}, {run.backend}, {run.system}: {rate:.1f} tokens/s{ratio} "
        f"({run.tokens} tokens, first text after {run.first:.2f} s)"
    )


def tables(runs: Sequence[Run]) -> Iterator[Table]:
    """Yield a table for each kind of prompt. Passes, tokens fed and milliseconds are per token of the answer."""
    both = len({run.backend for run in runs}) > 1
    for kind in dict.fromkeys(run.kind for run in runs):
        table = Table(title=kind, title_justify="left", box=SIMPLE_HEAD)
        for column in ("backend", "system", "tokens/s"):
            table.add_column(column, no_wrap=True)
        columns = ["ratio to base alone", "decoding, ratio to base alone", *(["ratio to transformers"] if both else [])]
        for column, width in zip(columns, (17, 13, 12), strict=False):
            table.add_column(column, min_width=width)  # so that each row is one line
        columns = ["first text", "outside", "base passes, fed, ms", "nudging passes, fed, ms"]
        for column, width in zip(columns, (7, 7, 17, 17), strict=True):
            table.add_column(column, min_width=width, justify="right")
        for backend, system in dict.fromkeys((run.backend, run.system) for run in runs):
            mine = _of(runs, kind, backend, system)
            alone = _of(runs, kind, backend, "base alone")
            other = _of(runs, kind, "transformers", system)
            to_other = f"{_rate(mine) / _rate(other):.2f}x" if backend == "llamacpp" and other else ""
            table.add_row(
                backend,
                system,
                f"{_rate(mine):.1f}",
                f"{_rate(mine) / _rate(alone):.2f}x" + _range(ratios(runs, kind, backend, system)),
                f"{_decoding(mine):.1f} ({_decoding(mine) / _decoding(alone):.2f}x)",
                *([to_other] if both else []),
                f"{median(run.first for run in mine):.2f} s",
                *_counts(mine),
            )
        yield table


def ratios(runs: Sequence[Run], kind: str, backend: Backend, system: str) -> list[float]:
    """Return the speed relative to the base model alone on the same backend, for each prompt."""
    mine, alone = _by_prompt(_of(runs, kind, backend, system)), _by_prompt(_of(runs, kind, backend, "base alone"))
    return [_rate(mine[number]) / _rate(alone[number]) for number in sorted(mine)]


def draw(runs: Sequence[Run], path: Path) -> None:
    """Draw the tokens per second by kind of prompt, backend and system."""
    from matplotlib import pyplot

    kinds = list(dict.fromkeys(run.kind for run in runs))
    systems = list(dict.fromkeys((run.backend, run.system) for run in runs))
    further = dict.fromkeys(system for _, system in systems if system not in SYSTEMS)
    colours = dict(zip(SYSTEMS, COLOURS, strict=True)) | dict(zip(further, cycle(MORE_COLOURS), strict=False))
    width = 0.8 / len(systems)
    figure, axes = pyplot.subplots(figsize=(4 + len(systems), 3), layout="constrained")
    for index, (backend, system) in enumerate(systems):
        rates = [_rate(_of(runs, kind, backend, system)) for kind in kinds]
        places = [place + (index - (len(systems) - 1) / 2) * width for place in range(len(kinds))]
        colour, hatch = colours[system], HATCHES[backend]
        label = f"{backend}: {system}"
        bars = axes.bar(places, rates, 0.9 * width, label=label, color=colour, hatch=hatch, edgecolor="white")
        axes.bar_label(bars, fmt="%.0f", fontsize=7)
    axes.set_xticks(range(len(kinds)), kinds)
    axes.set_ylabel("tokens per second")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=160)


def _of(runs: Sequence[Run], kind: str, backend: Backend, system: str) -> list[Run]:
    return [run for run in runs if (run.kind, run.backend, run.system) == (kind, backend, system)]


def _key(run: Run) -> tuple[str, int, Backend, str]:
    return run.kind, run.prompt, run.backend, run.system


def _by_prompt(runs: Sequence[Run]) -> dict[int, list[Run]]:
    return {number: [run for run in runs if run.prompt == number] for number in {run.prompt for run in runs}}


def _counts(runs: Sequence[Run]) -> list[str]:
    """Return the share of time outside of passes, and the sums of the passes per token. Empty if not measured."""
    tokens = sum(run.tokens for run in runs)
    cells = [f"{sum(run.outside or 0 for run in runs) / sum(run.total for run in runs):.1%}"]
    for author in ("base", "nudging"):
        passes, fed, seconds = (
            sum(getattr(run, f"{author}_{name}") or 0 for run in runs) for name in ("passes", "fed", "seconds")
        )
        cells.append(f"{passes / tokens:.2f}, {fed / tokens:.2f}, {1000 * seconds / tokens:.1f}")
    return cells if runs[0].outside is not None else [""] * len(cells)


def _rate(runs: Sequence[Run]) -> float:
    """Return the tokens per second over all prompts, each with its median time."""
    return _over_prompts(runs, lambda run: run.tokens, lambda run: run.total)


def _decoding(runs: Sequence[Run]) -> float:
    """Return the same without the tokens of the first text and the time until it."""
    return _over_prompts(runs, lambda run: run.tokens - run.first_tokens, lambda run: run.total - run.first)


def _over_prompts(runs: Sequence[Run], tokens: Callable[[Run], float], seconds: Callable[[Run], float]) -> float:
    groups = _by_prompt(runs).values()
    time = sum(median(map(seconds, group)) for group in groups)
    return sum(tokens(group[0]) for group in groups) / time if time else float("nan")


def _range(values: Sequence[float]) -> str:
    return f" ({min(values):.2f}-{max(values):.2f})"
