"""From logits to choices: the next token, and the probability of the top token."""

from collections.abc import Sequence
from hashlib import blake2b
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nudging.models.base import Sampling

NUCLEUS = 512
"""The number of most probable tokens that are searched for `top_p` first. Sorting all takes ten times as long."""


class Choice(NamedTuple):
    """The token that a model chooses after a prefix.

    Args:
        token: The token.
        probability: The probability of the top token, in [0, 1].
        sampled: The probability of the token itself if it was sampled, else None.
        alternatives: The most probable tokens and their probabilities, if they were asked for.
    """

    token: int
    probability: float
    sampled: float | None = None
    alternatives: tuple[tuple[int, float], ...] = ()


def choose(
    logits: NDArray[np.float32],
    positions: Sequence[int],
    sampling: Sampling | None,
    masks: NDArray[np.bool_] | None = None,
    alternatives: int = 0,
) -> list[Choice]:
    """Return one choice per row. The logits are read and not copied.

    Args:
        logits: The logits of the next token, shape [rows, vocab].
        positions: The number of tokens before the chosen one, per row. A draw depends on it.
        sampling: How tokens are sampled. None decodes greedily.
        masks: True for each token that may be chosen, shape [rows, up to vocab]. Without a grammar None. The
            probability stays that of the model itself: a model without alternatives is not a model that is sure.
        alternatives: The number of most probable tokens that each choice lists.
    """
    rows = [None] * len(logits) if masks is None else masks
    return [
        _choose(row, position, sampling, mask, alternatives)
        for row, position, mask in zip(logits, positions, rows, strict=True)
    ]


def logprobs(logits: NDArray[np.float32], tokens: Sequence[int]) -> list[float]:
    """Return the log-probability of one token per row of logits, shape [rows, vocab]."""
    tops = (row.max() for row in logits)
    return [
        float(row[token] - top) - log(_total(row, top)) for row, token, top in zip(logits, tokens, tops, strict=True)
    ]


def _choose(
    logits: NDArray[np.float32],
    position: int,
    sampling: Sampling | None,
    mask: NDArray[np.bool_] | None,
    alternatives: int,
) -> Choice:
    token = int(logits.argmax())
    top = logits[token]
    total = _total(logits, top)
    vocabulary = len(logits)
    if mask is not None:
        logits = np.where(mask, logits[: len(mask)], np.float32("-inf"))
        token = int(logits.argmax())

    def probability(token: int) -> float:
        return float(np.exp(logits[token] - top)) / total

    listed = tuple((int(one), probability(one)) for one in _top(logits, alternatives))
    if sampling is None:
        return Choice(token, probability(token), None, listed)
    noise = gumbel_noise(sampling.seed, position, vocabulary)[: len(logits)]
    sampled = _sampled(logits, noise, sampling)
    return Choice(sampled, probability(token), probability(sampled), listed)


def _top(logits: NDArray[np.float32], count: int) -> list[int]:
    """Return the most probable tokens that are not masked, the first one first."""
    if not count:
        return []
    largest = np.argpartition(logits, -count)[-count:] if count < len(logits) else np.arange(len(logits))
    order = largest[np.argsort(-logits[largest], kind="stable")]
    return [int(token) for token in order if logits[token] > -np.inf]


def _total(logits: NDArray[np.float32], top: np.float32) -> float:
    """Return the sum of exp(logits - top)."""
    scores = logits - top
    return float(np.exp(scores, out=scores).sum())


def _sampled(logits: NDArray[np.float32], noise: NDArray[np.float32], sampling: Sampling) -> int:
    """Sample with the Gumbel-max trick: argmax(logits / T + noise) is a draw from softmax(logits / T).

    A pass over one token and a pass over many round differently. An inverse-CDF draw would sum these differences over
    the vocabulary and sometimes pick another token. Here they matter only if two tokens are practically tied.
    """
    logits = logits / np.float32(sampling.temperature)
    if sampling.top_p == 1:
        return int((logits + noise).argmax())
    kept = _nucleus(logits, sampling.top_p)
    return int(kept[(logits[kept] + noise[kept]).argmax()])


def _nucleus(logits: NDArray[np.float32], top_p: float) -> NDArray[np.intp]:
    """Return the most probable tokens that together reach `top_p`, one at least."""
    top = logits.max()
    total = _total(logits, top)
    for size in (min(NUCLEUS, len(logits)), len(logits)):
        largest = np.argpartition(logits, -size)[-size:]
        order = largest[np.argsort(-logits[largest], kind="stable")]
        probabilities = np.exp(logits[order] - top) / total
        before = np.cumsum(probabilities) - probabilities
        if size == len(logits) or before[-1] >= top_p:
            break
    kept: NDArray[np.intp] = order[: max(int(np.searchsorted(before, top_p)), 1)]
    return kept


def gumbel_noise(seed: str, position: int, vocabulary: int) -> NDArray[np.float32]:
    """Return standard Gumbel noise per token, shape [vocab]. It depends on the three arguments only."""
    digest = blake2b(f"{seed}:{position}".encode(), digest_size=8).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
    noise = generator.random(vocabulary, dtype=np.float32)
    with np.errstate(divide="ignore"):  # a 0 becomes -inf: its token is never drawn
        np.log(noise, out=noise)
        np.negative(noise, out=noise)
        np.log(noise, out=noise)
    return np.negative(noise, out=noise)
