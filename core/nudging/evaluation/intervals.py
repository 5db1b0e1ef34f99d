"""95% intervals for tables and pictures."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

Z = 1.96
"""Half the width of a 95% interval, in standard errors."""


def share_interval(values: Sequence[bool]) -> tuple[float, float, float]:
    """Return the share of true values and its Wilson interval, which is valid for few values and extreme shares too."""
    n, share = len(values), fmean(values)
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))  # rounding


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and its interval by the normal approximation."""
    mean = fmean(values)
    half = Z * stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0
    return mean, mean - half, mean + half


def paired_interval(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, float, float]:
    """Return the difference of two shares over the same questions, first minus second, and its interval.

    The interval is Agresti and Min's (2005), which is valid for few pairs too, also if all of them are equal.
    """
    n = len(first)
    gained = sum(one and not other for one, other in zip(first, second, strict=True))
    lost = sum(other and not one for one, other in zip(first, second, strict=True))
    centre = (gained - lost) / (n + 2)
    half = Z * sqrt(gained + lost + 1 - (gained - lost) ** 2 / (n + 2)) / (n + 2)
    return (gained - lost) / n, max(-1.0, centre - half), min(1.0, centre + half)
