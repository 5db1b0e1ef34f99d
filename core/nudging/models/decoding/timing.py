"""Measured cost of forward passes, by their size."""

from bisect import bisect_left
from statistics import fmean, median

WINDOW = 5
"""Number of passes of each size that are remembered. Their median is the cost, so one slow pass does not count."""

SIZES = sorted({round(2**exponent * step) for exponent in range(14) for step in (1, 1.5)})
"""Upper bounds of the groups of sizes: 1, 2, 3, 4, 6, 8, 12, 16, …"""


class PassTimer:
    """The time of one model's forward passes, by the number of tokens fed.

    On one machine sixteen tokens cost as much as one, on another twice as much, in llama.cpp eight times. Passes of
    many sizes are run anyway: prompts, and the other model's words. Sizes between them are interpolated.
    """

    def __init__(self) -> None:
        self._passes: dict[int, list[tuple[int, float]]] = {}  # (tokens, seconds) by group of sizes
        self._points: list[tuple[float, float]] = []  # (tokens, seconds) per group, neither ever falling
        self._sequences = 1.0  # moving average of the sequences per pass

    def record(self, tokens: int, seconds: float, sequences: int = 1) -> None:
        """Record a pass over `tokens` new tokens of `sequences` sequences."""
        group = self._passes.setdefault(bisect_left(SIZES, tokens), [])
        group.append((tokens, seconds))
        del group[:-WINDOW]
        points, highest = [], 0.0
        for _, passes in sorted(self._passes.items()):
            highest = max(highest, median(seconds for _, seconds in passes))
            points.append((fmean(tokens for tokens, _ in passes), highest))
        self._points = points
        self._sequences += (sequences - self._sequences) / WINDOW

    def cost(self, tokens: int) -> float:
        """Return the expected seconds of a pass over `tokens` new tokens of one sequence, batched as lately.

        A size beyond those measured costs as much more as the line through the two nearest ones says. As long as only
        one size was measured, each token is taken to cost the same.
        """
        size, points = tokens * self._sequences, self._points
        if not points:
            return float(tokens)
        if len(points) == 1 or size < points[0][0]:
            return points[0][1] * size / points[0][0]
        after = min(max(bisect_left(points, (size, 0.0)), 1), len(points) - 1)
        (smaller, its_cost), (larger, other_cost) = points[after - 1], points[after]
        return its_cost + (other_cost - its_cost) * (size - smaller) / (larger - smaller)
