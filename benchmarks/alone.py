"""One model of a pair without the other: what nudging is compared with."""

from dataclasses import dataclass

from nudging import Nudger
from nudging.generation import Author
from nudging.prompts import Prompt


@dataclass(frozen=True)
class Continuation:
    """What a model wrote: its text, its length in the model's own tokens, and whether it ended by itself."""

    text: str
    tokens: int
    ended: bool


def continuation(nudger: Nudger, author: Author, prompt: Prompt) -> Continuation:
    """The answer of one of the two models to the prompt that it has in the pair, decoded greedily."""
    prompts, limit = nudger.prompts(prompt), nudger.settings.max_tokens
    if author == "base":
        session = nudger.base_model.session(prompts.base, role="base")
    else:
        session = nudger.nudging_model.session(prompts.nudging, role="nudging")
    steps = list(session.steps("", limit))
    session.close()
    ended = bool(steps) and steps[-1].end
    return Continuation("".join(step.text for step in steps), len(steps) - ended, ended)
