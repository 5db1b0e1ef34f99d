"""Listed log-probabilities as steps. Used for all kinds of servers."""

import math
from collections.abc import Sequence

from nudging.errors import UnsupportedModelError
from nudging.step import Alternative, Step


def step_of(text: str, own: float, listed: Sequence[tuple[str, float]] = ()) -> Step:
    """Return a token as a step.

    Args:
        text: The text that the token adds.
        own: Its log-probability.
        listed: The texts and log-probabilities of the most probable tokens in its place.
    """
    alternatives = tuple(
        Alternative(token, _probability(logprob)) for token, logprob in sorted(listed, key=lambda one: -one[1])
    )
    top = max([own, *(logprob for _, logprob in listed)])
    return Step(text, _probability(top), sampled=_probability(own), alternatives=alternatives)


def in_text(tokens: Sequence[str], text: str) -> list[str]:
    """Return what each token adds to the text: the token itself, or nothing for a special token.

    Text between two tokens belongs to the one before it: the last part of a character brings all of it.
    """
    added: list[str] = []
    at = 0
    for token in tokens:
        start = text.find(token, at) if token and "\ufffd" not in token else -1
        if start < 0:
            added.append("")
            continue
        between = text[at:start]
        if added:
            added[-1] += between
        added.append(token if len(added) else between + token)
        at = start + len(token)
    if at < len(text):  # the server's token strings differ from its text: the text is right
        added[-1:] = [(added[-1] if added else "") + text[at:]]
    return added


def _probability(logprob: float) -> float:
    if math.isnan(logprob):
        raise UnsupportedModelError("it sends NaN as a log-probability")
    return math.exp(min(0.0, logprob))
