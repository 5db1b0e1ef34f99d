"""The rules that decide which of two models writes each part of an answer: pure Python, no model, no I/O, no clock.

Each rule is a file of this folder. `docs/rule.md` describes them in words.
"""

from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeAlias

from nudging.rules import bet, blend, tokens, words
from nudging.rules.actions import Action, Rule
from nudging.rules.unfinished import Finished, UnfinishedAnswer
from nudging.settings import RuleName, Settings

Rounds: TypeAlias = Callable[[UnfinishedAnswer, Settings], Generator[Action, Any, None]]
"""Writes an answer until it raises `Finished`."""

RULES: Mapping[RuleName, Rounds] = {
    "words": words.rounds,
    "tokens": tokens.rounds,
    "bet": bet.rounds,
    "blend": blend.rounds,
}
"""All rules by name."""


def nudge(settings: Settings, *, constrained: bool = False) -> Rule:
    """Yield the actions and pieces of one answer, and return the reason why it ended.

    Args:
        settings: The rule and its numbers, the budget and the stop strings.
        constrained: True if the answer follows a grammar. Then text is only appended if the answer can still be
            completed within `max_tokens`, an answer that is cut short is completed, and `stop` is ignored.
    """
    answer = UnfinishedAnswer(settings.max_tokens, () if constrained else settings.stop, constrained)
    try:
        yield from RULES[settings.rule](answer, settings)
    except Finished as finished:
        yield from answer.complete()
        yield from answer.release(len(answer.text))
        return finished.reason
    raise AssertionError("rounds end with Finished")
