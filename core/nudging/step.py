"""Values that models return: a decoded token, and the part of a text that fits into a number of tokens."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One token of a model.

    Args:
        text: The text that the token adds. Empty for end tokens, for other special tokens, and for a token that leaves
            a character unfinished; the token that finishes the character brings all of it.
        probability: The probability of the model's top token at this position, in [0, 1], before temperature.
        end: True if this token ends the model's turn.
        sampled: The probability of this token, if it was sampled and need not be the top one.
        alternatives: The most probable tokens at this position, if they were asked for.
    """

    text: str
    probability: float
    end: bool = False
    sampled: float | None = None
    alternatives: tuple["Alternative", ...] = ()

    @property
    def own_probability(self) -> float:
        """The probability of this token, in [0, 1], before temperature."""
        return self.probability if self.sampled is None else self.sampled


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that a model might have written: its text, its probability, and True for the end of the turn."""

    text: str
    probability: float
    end: bool = False


@dataclass(frozen=True, slots=True)
class FittedText:
    """The longest start of a text that fits into a number of tokens.

    Args:
        text: The start of the text.
        tokens: Its length in tokens.
    """

    text: str
    tokens: int
