"""A confidence bet: the base model's token stands unless the nudging model is clearly more confident of its own.

At each token the base model writes v, unless p(v) < max q - λ, where p are the base model's probabilities, q are the
nudging model's and λ is `bet`. Then the nudging model writes one token. A token with p(v) >= 1 - λ stands in any case,
so the nudging model is asked only about the others.

Source: Hammal, Zweigenbaum and Corro, "On the Rejection Criterion for Proxy-based Test-time Alignment", arXiv
2604.16146, with λ = 0.2. There both models share one tokenizer. Across tokenizers, v also stands if the nudging model's
token is the start of it, as "``" is of "```": the models agree, and one of them has the longer token.
"""

from collections.abc import Generator
from typing import Any

from nudging.rules.actions import Action
from nudging.rules.base_tokens import BaseTokens
from nudging.rules.sure_end import is_within_word
from nudging.rules.unfinished import UnfinishedAnswer
from nudging.settings import Settings


def rounds(answer: UnfinishedAnswer, settings: Settings) -> Generator[Action, Any, None]:
    """Write the answer token by token."""
    base = BaseTokens(answer, lambda step: step.own_probability >= 1 - settings.bet, 0.0, settings)
    while True:
        token, own = yield from base.run()
        stands = token[0].own_probability >= own.probability - settings.bet or _is_start(own.text, token[-1].text)
        if stands and token[-1].text:
            yield from base.keep(token)
        else:
            yield from base.nudge(own)


def _is_start(start: str, text: str) -> bool:
    """Return True if a text begins with this start, and the start does not end inside one of its words."""
    rest = text.removeprefix(start)
    return bool(start) and rest != text and not is_within_word(start, rest)
