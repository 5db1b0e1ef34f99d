"""Blend the two models' distributions where the base model is unsure.

Where the base model's top-1 probability is under `threshold`, the next token comes from α q + (1 - α) p over the texts
of both models' most probable tokens, with

    α = q₁ / (p₁ + q₁) + 0.1 p(x),

at most 1, where p₁ and q₁ are the top-1 probabilities of the base and the nudging model, and x is the nudging model's
top token. Tokens of the two models are the same if their texts are.

Source: Gan, Li and Luo, "To Intervene or Not: Guiding Inference-time Alignment with Probabilistic Model Blending",
arXiv 2606.11201, and its program (`compute_blend_alpha`). Two differences: the program blends the 100 most probable
tokens, and this rule 20; there the base model may end the answer, and here only the nudging model may.
"""

from collections.abc import Generator
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple, TypeAlias

from nudging.answer import Author
from nudging.rules.actions import Action
from nudging.rules.base_tokens import BaseTokens
from nudging.rules.unfinished import UnfinishedAnswer
from nudging.settings import Settings
from nudging.step import Step

ALTERNATIVES = 20
"""Number of most probable tokens of each model that are blended."""

AGREEMENT = 0.1
"""The weight that the nudging model gains if the base model gives its top token all probability."""

Distribution: TypeAlias = dict[str | None, float]
"""The probability of each text. None stands for the end of the turn."""


class Blended(NamedTuple):
    """A token of the blend: its text, or None for the end of the turn, and the model that contributes most to it."""

    text: str | None
    author: Author


def rounds(answer: UnfinishedAnswer, settings: Settings) -> Generator[Action, Any, None]:
    """Write the answer token by token."""
    base = BaseTokens(answer, lambda step: step.probability >= settings.threshold, settings.threshold, settings)
    while True:
        token, own = yield from base.run()
        chosen = blended(token[0], own, settings, len(answer.text))
        if chosen is None:
            yield from base.nudge(own)
        elif chosen.author == "base" and chosen.text == token[-1].text:
            yield from base.keep(token)
        elif chosen.author == "base":
            yield from base.replace(Step(str(chosen.text), token[0].probability))
        else:
            yield from base.nudge(Step(chosen.text or "", own.probability, end=chosen.text is None))


def blended(base: Step, nudging: Step, settings: Settings, position: int) -> Blended | None:
    """Return the next token of the blend, or None if neither model has a token with a whole character.

    Args:
        base: The base model's step, with its alternatives.
        nudging: The nudging model's step in the same place, with its alternatives.
        settings: At temperature 0 the most probable token is returned, else a sample.
        position: The length of the answer in characters. A sample depends only on the seed and this position.
    """
    p, q = _distribution(base), _distribution(nudging)
    p.pop(None, None)  # only the nudging model ends an answer
    agreement = p.get(max(q, key=lambda text: q[text]), 0.0) if q else 0.0
    both = base.probability + nudging.probability  # under a grammar it may be 0: all that is allowed is improbable
    weight = min(1.0, (nudging.probability / both if both else 0.5) + AGREEMENT * agreement)
    from_base = {text: (1 - weight) * probability for text, probability in p.items()}
    from_nudging = {text: weight * probability for text, probability in q.items()}
    blend = {text: from_base.get(text, 0.0) + from_nudging.get(text, 0.0) for text in p | q}
    if not blend:
        return None
    text = _chosen(blend, settings, position)
    return Blended(text, "base" if from_base.get(text, 0.0) > from_nudging.get(text, 0.0) else "nudging")


def _distribution(step: Step) -> Distribution:
    """Return the probabilities of the alternatives, without tokens that leave a character unfinished."""
    found: Distribution = {}
    for one in step.alternatives:
        text = None if one.end else one.text
        if text != "":
            found[text] = found.get(text, 0.0) + one.probability
    return found


def _chosen(blend: Distribution, settings: Settings, position: int) -> str | None:
    texts = sorted(blend, key=lambda text: -blend[text])
    if settings.temperature == 0 or not blend[texts[0]]:
        return texts[0]
    before = accumulate((blend[text] / sum(blend.values()) for text in texts), initial=0.0)
    nucleus = [text for text, share in zip(texts, before, strict=False) if share < settings.top_p]
    weights = [(blend[text] / blend[texts[0]]) ** (1 / settings.temperature) for text in nucleus]
    return Random(f"{settings.seed}:{position}").choices(nucleus, weights)[0]  # noqa: S311
