"""Answers to look at: HTML for notebooks, rich text for terminals, coloured by author."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from nudging.generation import Answer, Author, Piece, by_author

if TYPE_CHECKING:
    from rich.text import Text

TERMINAL_STYLES: Mapping[Author, str] = {"base": "cyan", "nudging": "bold magenta"}

HTML_STYLES: Mapping[Author, str] = {
    "base": "color:inherit",
    "nudging": "background:#f6d5e5;color:#7a0f4b;border-radius:3px",
}

CONTROL_CHARACTERS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}
"""Shown as symbols: what a model writes must not steer the terminal."""


def piece_text(piece: Piece) -> "Text":
    """A piece in its author's colour."""
    from rich.text import Text  # not needed for HTML

    return Text(piece.text.translate(CONTROL_CHARACTERS), style=TERMINAL_STYLES[piece.author])


def answer_text(answer: Answer) -> "Text":
    """An answer with each piece in its author's colour."""
    from rich.text import Text

    return Text().join(map(piece_text, answer.pieces))


def answer_html(answer: Answer) -> str:
    """An answer with the nudging model's words marked, and a line that says what it took."""
    spans = "".join(
        f'<span class="nudging-{author}" style="{HTML_STYLES[author]}">{escape(text)}</span>'
        for author, text in by_author(answer.pieces)
    )
    return (
        f'<div class="nudging-answer"><div style="white-space:pre-wrap">{spans}</div>'
        f'<div style="opacity:0.7;font-size:smaller">{escape(summary(answer))}</div></div>'
    )


def summary(answer: Answer) -> str:
    """Length, share nudged, and why it ended."""
    tokens = answer.usage.completion_tokens
    ended = f" · {answer.finish_reason}" if answer.finish_reason else ""
    return f"{tokens} tokens · {answer.nudge_ratio:.0%} nudged{ended}"
