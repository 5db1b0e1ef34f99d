"""The actions by which a rule asks for what it needs and hands out the answer. The drivers in `stream.py` run them.

A rule is a generator, like httpx's auth flow. It yields an action and is sent the result:

=========================  ==================================================================  ====================
it yields                  meaning                                                             it is sent
=========================  ==================================================================  ====================
`Ask(author, text)`        start this model after the answer `text`                            its first step
`More()`                   continue the model that was asked last                              its next step
`Check(text, run)`         the nudging model's own step at each place of the base model's run  a list of `Step`
`Prefetch(text, limit)`    the base model will probably be asked after this text soon          nothing
`Fit(text, limit)`         how much of this text fits into `limit` base-model tokens?          a `FittedText`
`Complete(text, limit)`    how is this start of an answer completed within `limit` tokens?     `FittedText` or None
`Piece`                    this text is final, and this model wrote it                         nothing
=========================  ==================================================================  ====================

A step is None when the model has no more: its context is full, or it has given as many as were asked for. The generator
returns the reason why the answer ended.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

from nudging.answer import Author, FinishReason, Piece


@dataclass(frozen=True, slots=True)
class Ask:
    """Start a model after the answer `text`, for at most `limit` steps.

    `hint` is text that probably comes next. After a step whose probability is below `stop_below`, probably no other one
    is asked for.
    """

    author: Author
    text: str
    limit: int
    hint: str = ""
    stop_below: float = 0.0


@dataclass(frozen=True, slots=True)
class More:
    """Take the next step of the model that was asked last."""


@dataclass(frozen=True, slots=True)
class Check:
    """Ask for the nudging model's own step after `text`, after `text` and `run[0]`, and so on to the end of the run.

    The model that was asked last stays ready for `More`. If the nudging model's context is full, the list is shorter.
    """

    text: str
    run: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prefetch:
    """The base model will be asked after the answer `text` for `limit` steps, unless the proposal ends the answer.

    `stop_below` is that of its `Ask`.
    """

    text: str
    limit: int
    stop_below: float = 0.0


@dataclass(frozen=True, slots=True)
class Fit:
    """Ask how much of `text` fits into `limit` base-model tokens."""

    text: str
    limit: int


@dataclass(frozen=True, slots=True)
class Complete:
    """Ask for a text of at most `limit` base-model tokens that completes the answer `text` under its grammar."""

    text: str
    limit: int


Action: TypeAlias = Ask | More | Check | Prefetch | Fit | Complete | Piece
Rule: TypeAlias = Generator[Action, Any, FinishReason]
