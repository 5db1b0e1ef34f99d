"""A tuning as text, as a table and as a picture."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import nudging
from nudging.evaluation.disagreement_report import nudge_warning
from nudging.evaluation.plots import COLOURS, INK, NUDGES, error_bars, figure, save
from nudging.evaluation.results import Interval
from nudging.evaluation.tune import FEW_QUESTIONS, PAPER, Result, System, Tuning

ALONE = {"base": "base alone", "nudging": "nudging alone"}

COSTS = ("tokens an answer", "nudged", "seconds an answer", "tokens/s")


def advice(tuning: Tuning) -> str:
    """Return one sentence or two that say which setting to use, how good it is, and what it costs."""
    best = tuning.best
    others = "".join(
        f", {_role(system)} {result.score.mean:.0%}"
        for system, result in tuning.held.items()
        if system != tuning.chosen
    )
    model = f"{_short(tuning.pairs[tuning.chosen.pair][1])} and " if len(tuning.pairs) > 1 else ""
    return (
        f"Use {model}{tuning.setting.phrase}: {best.score.mean:.0%} right and ended on {len(best.answers)} held "
        f"{_plural('question', len(best.answers))} ({_range(best.score)}){others}. "
        f"It nudges {best.nudge_ratio:.0%} of the tokens and writes {best.speed:.3g} tokens/s."
    )


def cautions(tuning: Tuning) -> list[str]:
    """Return the reasons to doubt the advice, one sentence or two each."""
    return list(_cautions(tuning))


def _cautions(tuning: Tuning) -> Iterator[str]:
    best, held = tuning.best, len(tuning.best.answers)
    if held < FEW_QUESTIONS:
        yield (
            f"Only {held} held {_plural('question', held)} tested this, and {tuning.choosing} chose it. That is too "
            f"few to tell settings apart: the numbers are rough. Give {2 * FEW_QUESTIONS} questions at least."
        )
    alone = {method: tuning.held[System(tuning.chosen.pair, method)].score.mean for method in ALONE}
    if better := [
        f"the {one} model alone ({share:.0%})" for one, share in alone.items() if share >= best.score.mean > 0
    ]:
        yield (
            f"On the held questions {_listed(better)} {'do' if len(better) > 1 else 'does'} as well or better: nudging "
            "gains nothing here."
        )
    paper = tuning.held.get(System(tuning.chosen.pair, "nudged", PAPER))
    if paper and tuning.setting != PAPER and paper.score.mean >= best.score.mean > 0:
        yield (
            f"On the held questions the paper's rule does as well or better ({paper.score.mean:.0%}): the choice may "
            "be chance. More questions tell more."
        )
    if chance := [_role(system) for system, gain in _gains(tuning) if gain.mean > 0 >= gain.low]:
        yield f"The gain over {_listed(chance)} may be chance: its 95% interval includes 0."
    if not best.score.mean:
        yield (
            "No answer was both right and ended. Try more max_tokens, an end such as 0.5, or look at the answers in "
            "answers.jsonl."
        )
    if warning := nudge_warning(best.nudge_ratio):
        yield warning
    for system, reason in tuning.left_out.items():
        yield f"{_label(tuning, system)} was left out: {reason}"
    if unanswered := max(result.unanswered for result in tuning.held.values()):
        yield (
            f"{unanswered} of the held questions could not be asked (see `problem` in answers.jsonl). They count as "
            "wrong."
        )


def as_markdown(tuning: Tuning, conditions: Sequence[str] = ()) -> str:
    """Return the report.

    Args:
        tuning: The result.
        conditions: Lines on the questions and how they were asked.
    """
    base = _short(tuning.pairs[0][0])
    models = " or ".join(dict.fromkeys(_short(name) for _, name in tuning.pairs))
    lines = ["# Tuning", "", f"**{advice(tuning)}**", ""]
    lines += [f"- {caution}" for caution in cautions(tuning)]
    lines += ["", f"{base}, nudged by {models}; nudging {nudging.__version__}.", *conditions, ""]
    lines += [f"## On the {len(tuning.best.answers)} held questions", "", *_held_table(tuning), ""]
    lines += [
        "Shares and differences have 95% intervals: Wilson's, and Agresti and Min's for differences on the same "
        "questions.",
        "",
    ]
    if tuning.tried:
        lines += [f"## How it was chosen, on the other {tuning.choosing}", "", *_tried_table(tuning), ""]
    return "\n".join(lines)


def _held_table(tuning: Tuning) -> list[str]:
    gains = dict(_gains(tuning))
    rows = [["setting", "right", "ended", "right and ended", "the recommended one gains", *COSTS]]
    for system, result in tuning.held.items():
        name = f"**{_label(tuning, system)}**" if system == tuning.chosen else _label(tuning, system)
        gain = _points(gains[system]) if system in gains else ""
        rows.append([name, *_shares(result), gain, *_costs(system, result)])
    return _table(rows)


def _tried_table(tuning: Tuning) -> list[str]:
    rows = [["setting", "questions", "right", "ended", "right and ended", *COSTS]]
    for system, result in tuning.tried.items():
        rows.append([_label(tuning, system), str(len(result.answers)), *_shares(result), *_costs(system, result)])
    return _table(rows)


def _shares(result: Result) -> list[str]:
    return [f"{one.mean:.0%} ({_range(one)})" for one in (result.right, result.ended, result.score)]


def _costs(system: System, result: Result) -> list[str]:
    nudged = f"{result.nudge_ratio:.0%}" if system.setting else ""
    return [f"{result.tokens:.0f}", nudged, f"{result.seconds:.2f}", f"{result.speed:.1f}"]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = rows
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]


def _gains(tuning: Tuning) -> list[tuple[System, Interval]]:
    """Return the gain of the recommended setting over each other system on the held questions."""
    return [
        (system, tuning.best.gain_over(result)) for system, result in tuning.held.items() if system != tuning.chosen
    ]


def _role(system: System) -> str:
    return ALONE.get(system.method, "the paper's rule")


def _label(tuning: Tuning, system: System) -> str:
    if system.setting is None:
        return ALONE[system.method]
    paper = " (the paper's)" if system.setting == PAPER else ""
    model = f"{_short(tuning.pairs[system.pair][1])}: " if len(tuning.pairs) > 1 else ""
    return f"{model}{system.setting.label}{paper}"


def _short(name: str) -> str:
    """Return a model's name. A model in a folder is named after the folder."""
    return Path(name).name if Path(name).is_absolute() else name


def _range(interval: Interval) -> str:
    return f"{interval.low * 100:.0f}-{interval.high * 100:.0f}"


def _points(interval: Interval) -> str:
    mean, low, high = (round(100 * value) for value in interval.as_tuple())
    return f"{mean:+d} points ({low:+d} to {high:+d})"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def draw_tuning(tuning: Tuning, path: Path) -> None:
    """Draw the score of every setting against the share of nudged tokens and against the time of an answer.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    drawn, panels = figure(9, 3.8, columns=2)
    for axes, label in zip(panels, ("share of tokens nudged", "seconds an answer"), strict=True):
        for result in tuning.tried.values():
            axes.plot(_cost(result, label), result.score.mean, "o", ms=4, color=COLOURS["base"], alpha=0.5)
        for system, result in tuning.held.items():
            if system.setting is None and label.startswith("share"):
                continue  # one model alone has no share
            axes.errorbar(
                _cost(result, label),
                result.score.mean,
                yerr=error_bars([result.score.as_tuple()]),
                fmt="o",
                ms=7,
                color=_colour(tuning, system),
                ecolor=INK,
                elinewidth=0.8,
                label=_label(tuning, system),
            )
        axes.set_xlabel(label)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlim(left=0)
    panels[0].set_ylabel("right and ended (bars: 95% intervals)")
    handles, labels = panels[1].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    drawn.supxlabel("large: held questions; small and grey: the questions that chose", fontsize=8)
    save(drawn, path)


def _cost(result: Result, label: str) -> float:
    return result.nudge_ratio if label.startswith("share") else result.seconds


def _colour(tuning: Tuning, system: System) -> str:
    return COLOURS["nudged"] if system == tuning.chosen else NUDGES if system.setting else COLOURS[system.method]
