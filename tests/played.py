"""Run a rule against two tables of steps, without a model. Every character counts as one token of the budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from nudging import Piece
from nudging.answer import Author
from nudging.rules import nudge
from nudging.rules.actions import Ask, Check, Fit, More, Prefetch
from nudging.settings import Settings
from nudging.step import FittedText, Step

Lines = Mapping[str, Sequence[Step]]
"""A model's steps after each text that it may be asked after."""

NO_STEPS: Lines = {}
END = [Step("", 1.0, end=True)]


@dataclass
class Played:
    pieces: list[Piece] = field(default_factory=list)
    finish_reason: str = ""
    asked: list[tuple[Author, str]] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    prefetched: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def authors(self) -> list[tuple[str, str]]:
        return [(piece.author, piece.text) for piece in self.pieces]


def play(nudging: Lines, base: Lines = NO_STEPS, **settings: Any) -> Played:
    """Return what a rule does with these models."""
    rule = nudge(Settings.checked({"max_tokens": 100, **settings}))
    lines: dict[Author, Lines] = {"nudging": nudging, "base": base}
    played, steps, reply = Played(), iter(()), None

    def line(author: Author, text: str) -> Sequence[Step]:
        assert text in lines[author], f"the {author} model is asked after {text!r}"
        return lines[author][text]

    while True:
        try:
            action, reply = rule.send(reply), None
        except StopIteration as finished:
            played.finish_reason = finished.value
            return played
        match action:
            case Piece():
                played.pieces.append(action)
            case Ask(author, text, limit):
                played.asked.append((author, text))
                steps = iter(line(author, text)[:limit])
                reply = next(steps, None)
            case More():
                reply = next(steps, None)
            case Check(text, run):
                texts = list(accumulate((text, *run)))
                played.checked += texts
                reply = [step for one in texts for step in line("nudging", one)[:1]]
            case Prefetch(text):
                played.prefetched.append(text)
            case Fit(text, limit):
                reply = FittedText(text[:limit], len(text[:limit]))


def say(*tokens: str, p: float = 0.9, end: bool = False) -> list[Step]:
    """Return steps with these texts, and a last one that ends the turn."""
    return [*(Step(token, p) for token in tokens), *([Step("", p, end=True)] if end else [])]


def unsure(token: str = " um") -> list[Step]:
    """Return one step that the base model is not sure of."""
    return [Step(token, 0.1)]


def script(*tokens: str, p: float = 0.9) -> dict[str, list[Step]]:
    """Return the lines of a model that writes these tokens, after any start of them, until its context is full."""
    return {"".join(tokens[:start]): say(*tokens[start:], p=p) for start in range(len(tokens) + 1)}
