"""What is there to look at: text with authors as HTML for notebooks and rich text for terminals, and tables."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

    from nudging.evaluation.disagreement import Analysis

TERMINAL_STYLES: Mapping[str, str] = {"base": "cyan", "nudging": "bold magenta"}

HTML_STYLES: Mapping[str, str] = {
    "base": "color:inherit",
    "nudging": "background:#f6d5e5;color:#7a0f4b;border-radius:3px",
}

CONTROL_CHARACTERS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}
"""Shown as symbols: what a model writes must not steer the terminal."""


def as_rich(written: Iterable[tuple[str, str]]) -> "Text":
    """Each (author, text) in its author's colour."""
    from rich.text import Text  # not needed for HTML

    return Text.assemble(*((text.translate(CONTROL_CHARACTERS), TERMINAL_STYLES[author]) for author, text in written))


def as_html(written: Iterable[tuple[str, str]], caption: str) -> str:
    """Each (author, text) with the nudging model's marked, and a line below."""
    spans = "".join(
        f'<span class="nudging-{author}" style="{HTML_STYLES[author]}">{escape(text)}</span>'
        for author, text in written
    )
    return (
        f'<div class="nudging-answer"><div style="white-space:pre-wrap">{spans}</div>'
        f'<div style="opacity:0.7;font-size:smaller">{escape(caption)}</div></div>'
    )


SHOWN_WORDS = 24


def analysis_tables(analysis: "Analysis") -> "Group":
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
