"""The test of the paper token by token: the base model writes a token if it is sure of it, else the nudging model does.

The nudging model writes whole words: the base model takes over only where the nudging model's next token begins one.
The nudging model writes the first token of the answer.

Source: the nudging of MoCo (the package modelco 1.1.2), by the first author of arXiv 2410.09300. One difference: there
the base model may end the answer, and here only the nudging model may, as in the paper.
"""

from collections.abc import Generator
from typing import Any

from nudging.rules.actions import Action
from nudging.rules.base_tokens import BaseTokens
from nudging.rules.unfinished import UnfinishedAnswer
from nudging.settings import Settings
from nudging.step import Step


def rounds(answer: UnfinishedAnswer, settings: Settings) -> Generator[Action, Any, None]:
    """Write the answer: whole words of the nudging model, and the base model's run after them."""
    base = BaseTokens(answer, lambda step: step.probability >= settings.threshold, settings.threshold, settings)
    own = yield from base.own_step()
    while True:
        yield from _words(base, own)
        _, own = yield from base.run()


def _words(base: BaseTokens, own: Step) -> Generator[Action, Any, None]:
    """Append the nudging model's tokens up to the end of a word after which the base model is sure."""
    while True:
        yield from base.nudge(own)
        own = yield from base.own_step()
        if " " in own.text and (yield from base.is_sure_of_next(own.text)):
            return
        base.restart()
