"""Schemas with few values: the values, and the arrays that have each of them at most once."""

import json
from collections.abc import Iterable, Sequence
from itertools import combinations, permutations
from math import comb, perm
from typing import Any

MOST_VALUES = 64
"""The largest range of integers that counts as a list of values."""

MOST_ARRAYS = 1_000
"""The maximum number of arrays that replace an array with unique items."""


def distinct(values: Iterable[Any]) -> list[Any]:
    """Return the values without those that are equal in JSON: 1 equals 1.0, but not true."""
    return list({_key(value): value for value in reversed(list(values))}.values())[::-1]


def range_of(schema: dict[str, Any]) -> list[int] | None:
    """Return the integers that a schema of integers allows, or None if they are many."""
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1 if "exclusiveMinimum" in schema else None)
    high = schema.get("maximum", schema.get("exclusiveMaximum", 0) - 1 if "exclusiveMaximum" in schema else None)
    if not isinstance(low, int) or not isinstance(high, int) or not 0 <= high - low < MOST_VALUES:
        return None
    step = schema.get("multipleOf", 1)
    return [number for number in range(low, high + 1) if number % step == 0]


def arrays_of(values: Sequence[Any], least: int, most: int) -> list[list[Any]]:
    """Return arrays of `least` to `most` of the values, each at most once.

    All arrays if they are few; otherwise those that keep the order of the values; otherwise the shorter ones of those.
    """
    most = min(most, len(values))
    lengths = range(least, most + 1)
    if sum(perm(len(values), length) for length in lengths) <= MOST_ARRAYS:
        return [list(one) for length in lengths for one in permutations(values, length)]
    arrays: list[list[Any]] = []
    for length in lengths:
        if arrays and len(arrays) + comb(len(values), length) > MOST_ARRAYS:
            break
        arrays += [list(one) for one, _ in zip(combinations(values, length), range(MOST_ARRAYS), strict=False)]
    return arrays


def _key(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True)
