"""Render text in the colours of its authors: HTML for notebooks, rich text for terminals."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

TERMINAL_STYLES: Mapping[str, str] = {"base": "cyan", "nudging": "bold magenta"}

HTML_STYLES: Mapping[str, str] = {
    "base": "color:inherit",
    "nudging": "background:#f6d5e5;color:#7a0f4b;border-radius:3px",
}

CONTROL_CHARACTERS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}
"""Symbols for control characters, so that text from a model cannot control the terminal."""


def as_rich(written: Iterable[tuple[str, str]]) -> "Text":
    """Return (author, text) pairs as rich text, each in its author's colour."""
    from rich.text import Text  # only terminals need rich

    return Text.assemble(*((text.translate(CONTROL_CHARACTERS), TERMINAL_STYLES[author]) for author, text in written))


def as_html(written: Iterable[tuple[str, str]], caption: str) -> str:
    """Return (author, text) pairs as HTML: the nudging model's text is highlighted, and a caption stands below."""
    spans = "".join(
        f'<span class="nudging-{author}" style="{HTML_STYLES[author]}">{escape(text)}</span>'
        for author, text in written
    )
    return (
        f'<div class="nudging-answer"><div style="white-space:pre-wrap">{spans}</div>'
        f'<div style="opacity:0.7;font-size:smaller">{escape(caption)}</div></div>'
    )
