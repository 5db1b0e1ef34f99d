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
    """

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
