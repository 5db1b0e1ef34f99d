"""Random models as tables of steps, without weights: the same for `played.play` and for the naive rules."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from nudging.step import Alternative, Step

TOKENS = (" so", " is", " it", "it", ".", "\n", "s", " a", "é", "🌍", " 1", "2", "it is", "")
"""Tokens of the random models. One without text is a special token."""

PROBABILITIES = (0.05, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0)


@dataclass(frozen=True)
class RandomModel(Mapping[str, Sequence[Step]]):
    """A model whose next token depends on its seed and on the answer so far.

    Args:
        seed: The seed.
        ends: The share of places where it ends its turn.
        forgetful: It only looks at the last characters of the answer, so that it often repeats itself.
        context: The number of characters after which its context is full.
        tokens: The texts of its tokens.
    """

    seed: int
    ends: float = 0.1
    forgetful: bool = False
    context: int = 1000
    tokens: tuple[str, ...] = TOKENS

    def __getitem__(self, text: str) -> Sequence[Step]:
        return list(self._steps(text, 16))

    def __contains__(self, text: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def complete(self, text: str, count: int) -> list[tuple[str, float, bool]]:
        """Return steps for the naive rules."""
        return [(step.text, step.probability, step.end) for step in self._steps(text, count)]

    def alternatives(self, text: str, skipped: int) -> dict[str | None, float]:
        """Return the probability of each text (None is the end) after `skipped` steps, for the naive rules."""
        found: dict[str | None, float] = {}
        for one in self._steps(text, skipped + 1)[skipped].alternatives:
            its_text = None if one.end else one.text
            found[its_text] = found.get(its_text, 0.0) + one.probability
        return found

    def _steps(self, text: str, count: int) -> list[Step]:
        steps: list[Step] = []
        while len(steps) < count and len(text) < self.context:
            token = self._token(text)
            steps += token
            text += token[-1].text
            if token[-1].end:
                break
            if not token[-1].text:
                steps += token * (count - len(steps))  # nothing has changed, so it says the same
        return steps[:count]

    def _token(self, text: str) -> list[Step]:
        """Return the next token. A character outside of ASCII has several steps."""
        rng = Random(f"{self.seed}:{text[-3:] if self.forgetful else text}")
        if rng.random() < self.ends:
            chosen = Alternative("", rng.choice(PROBABILITIES), end=True)
        else:
            chosen = Alternative(rng.choice(self.tokens), rng.choice(PROBABILITIES))
        others = [Alternative(one, chosen.probability * rng.random() * 0.9) for one in rng.sample(self.tokens, 3)]
        size = len(chosen.text.encode()) if chosen.text and not chosen.text.isascii() else 1
        first = [Alternative("", chosen.probability)] if size > 1 else [chosen]
        steps = [Step("", chosen.probability, alternatives=(*first, *others))] * (size - 1)
        return [*steps, Step(chosen.text, chosen.probability, chosen.end, alternatives=(*first, *others))]
