"""Measured cost of forward passes, by their size."""

from statistics import median

WINDOW = 5
"""Number of passes of each size that are remembered. Their median is the cost, so one slow pass does not count."""


class PassTimer:
    """The time of one model's forward passes, by the number of tokens fed.

    On one machine sixteen tokens cost as much as one, on another twice as much, in llama.cpp eight times. Sizes are
    grouped by powers of two.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, tuple[float, ...]] = {}  # by size class
        self._sequences = 1.0  # moving average of the sequences per pass

    def record(self, tokens: int, seconds: float, sequences: int = 1) -> None:
        """Record a pass over `tokens` new tokens of `sequences` sequences."""
        size = _size_class(tokens)
        self._seconds[size] = (*self._seconds.get(size, ()), seconds)[-WINDOW:]
        self._sequences += (sequences - self._sequences) / WINDOW

    def cost(self, tokens: int) -> float:
        """Return the expected seconds of a pass over `tokens` new tokens of one sequence, batched as lately.

        A size that was never measured is taken to be as cheap as the next smaller one, so that it gets tried.
        """
        size, measured = _size_class(round(tokens * self._sequences)), self._seconds
        if size not in measured:
            if not measured:
                return 1.0
            size = max((one for one in measured if one < size), default=min(measured))
        return median(measured[size])


def _size_class(tokens: int) -> int:
    return (tokens - 1).bit_length()
