"""95% intervals, as the tables and pictures have them."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

Z = 1.96
"""Standard errors on either side."""


def share_interval(of: Sequence[bool]) -> tuple[float, float, float]:
    """The share that is true, and Wilson's interval of it, which holds for few and for extreme shares too."""
    n, share = len(of), fmean(of)
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return share, max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(of: Sequence[float]) -> tuple[float, float, float]:
    """The mean, and the normal approximation of its interval."""
    mean = fmean(of)
    half = Z * stdev(of) / sqrt(len(of)) if len(of) > 1 else 0.0
    return mean, mean - half, mean + half
