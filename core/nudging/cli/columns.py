"""Answers side by side, or below each other in a narrow terminal, while they are written."""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table

from nudging.answer import Answer, FinishReason, Piece
from nudging.display import as_rich

Writing: TypeAlias = Generator[Piece, None, Answer]
"""An answer that is being written. It yields pieces and returns the answer."""

ENDINGS: dict[FinishReason | None, str] = {"stop": "ended", "length": "cut off", "loop": "stopped in a loop"}


@dataclass
class Column:
    """An answer and its heading.

    Args:
        name: A short name, the key in JSON.
        title: The heading.
        start: Starts writing the answer.
        pieces: The text so far.
        answer: The whole answer, once it has ended.
        seconds: Time since the start.
    """

    name: str
    title: str
    start: Callable[[], Writing]
    pieces: list[Piece] = field(default_factory=list)
    answer: Answer | None = None
    seconds: float = 0.0

    def write(self) -> None:
        """Write the answer to its end."""
        started, writing = time.monotonic(), self.start()
        try:
            while True:
                piece = next(writing)
                self.pieces.append(piece)
                self.seconds = time.monotonic() - started
        except StopIteration as finished:
            self.answer = finished.value
            self.seconds = time.monotonic() - started
        finally:
            writing.close()

    @property
    def caption(self) -> str:
        """The length, the ending and the time of the answer."""
        if not self.pieces and not self.answer:
            return "waiting"
        tokens = sum(piece.tokens for piece in self.pieces)
        ended = f" · {ENDINGS[self.answer.finish_reason]}" if self.answer else ""
        return f"{tokens} tokens{ended} · {self.seconds:.1f} s"

    def __rich__(self) -> Panel:
        text = as_rich((piece.author, piece.text) for piece in self.pieces)
        indented = len(text.plain) - len(text.plain.lstrip())
        return Panel(
            text[indented:], title=self.title, subtitle=self.caption, title_align="left", subtitle_align="left"
        )


def side_by_side(columns: Sequence[Column]) -> RenderableType:
    """Return the columns in a row of equal widths."""
    row = Table.grid(expand=True)
    for _ in columns:
        row.add_column(ratio=1)
    row.add_row(*columns)
    return row


def stacked(columns: Sequence[Column]) -> RenderableType:
    """Return the columns below each other."""
    return Group(*columns)
