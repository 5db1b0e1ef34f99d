"""What forward passes cost on this machine, found out while they run."""

from statistics import median

REMEMBERED = 5
"""Passes of each size. Their median counts, so that a hiccup does not."""


class Pace:
    """How long one model's forward passes take, by the number of tokens that are fed.

    On one machine sixteen tokens cost as much as one, on another two cost twice that. Sizes are told apart by powers of
    two.
    """

    def __init__(self) -> None:
        self._passes: dict[int, tuple[float, ...]] = {}
        self._company = 1.0

    def took(self, tokens: int, seconds: float, sequences: int = 1) -> None:
        """Note a pass over so many new tokens, of so many sequences together."""
        size = _size(tokens)
        self._passes[size] = (*self._passes.get(size, ()), seconds)[-REMEMBERED:]
        self._company += (sequences - self._company) / REMEMBERED

    def cost(self, tokens: int) -> float:
        """Seconds that a pass over so many new tokens takes, in the company that this model's passes have of late.

        A size that was not tried yet is taken for as cheap as the next one that was, so that it will be tried.
        """
        size, known = _size(round(tokens * self._company)), self._passes
        if size not in known:
            if not known:
                return 1.0
            size = max((one for one in known if one < size), default=min(known))
        return median(known[size])


def _size(tokens: int) -> int:
    return (tokens - 1).bit_length()
