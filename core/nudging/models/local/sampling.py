"""From logits to choices: the next token, and the probability of the top token."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import torch

from nudging.models.base import Sampling

NUCLEUS = 512
"""The number of most probable tokens that are searched for `top_p` first. Sorting all takes ten times as long."""


class Choice(NamedTuple):
    """The token that a model chooses after a prefix, and the probability of its top token there."""

    token: int
    probability: float


def choose(
    logits: torch.Tensor, positions: Sequence[int], sampling: Sampling | None, masks: torch.Tensor | None = None
) -> list[Choice]:
    """Return one choice per row.

    Args:
        logits: The logits of the next token, shape [rows, vocab].
        positions: The number of tokens before the chosen one, per row. A draw depends on it.
        sampling: How tokens are sampled. None decodes greedily.
        masks: True for each token that may be chosen, shape [rows, up to vocab]. Without a grammar None. The
            probability stays that of the model itself: a model without alternatives is not a model that is sure.
    """
    # float32 for any dtype of the model: the threshold is compared with these probabilities
    logits = logits.float()
    vocabulary = logits.shape[1]
    top, tokens = logits.max(dim=-1)
    total = (logits - top.unsqueeze(-1)).exp_().sum(dim=-1)
    probabilities = 1 / total
    if masks is not None:
        logits = logits[:, : masks.shape[1]].masked_fill(~masks.to(logits.device), float("-inf"))
        permitted, tokens = logits.max(dim=-1)
        probabilities = (permitted - top).exp() / total
    if sampling is not None:
        noise = torch.stack([gumbel_noise(sampling.seed, position, vocabulary) for position in positions])
        tokens = _sampled(logits, noise[:, : logits.shape[1]], sampling)
    # one transfer to the host for both; float32 holds every token id exactly
    columns = torch.stack((tokens.float(), probabilities)).tolist()
    return [Choice(int(token), probability) for token, probability in zip(*columns, strict=True)]


def _sampled(logits: torch.Tensor, noise: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Sample with the Gumbel-max trick: argmax(logits / T + noise) is a draw from softmax(logits / T).

    A pass over one token and a pass over many round differently. An inverse-CDF draw would sum these differences over
    the vocabulary and sometimes pick another token. Here they matter only if two tokens are practically tied.
    """
    logits = logits / sampling.temperature
    if sampling.top_p < 1:
        logits = _nucleus(logits, sampling.top_p)
    return (logits + noise.to(logits.device)).argmax(dim=-1)


def _nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Keep the logits of the most probable tokens that together reach `top_p`, and set the others to -inf."""
    total = logits.logsumexp(dim=-1, keepdim=True)
    for size in (min(NUCLEUS, logits.shape[-1]), logits.shape[-1]):
        ordered, order = logits.topk(size, dim=-1)
        probabilities = (ordered - total).exp()
        before = probabilities.cumsum(dim=-1) - probabilities
        if size == logits.shape[-1] or bool((before[:, -1] >= top_p).all()):
            break
    kept = ordered.masked_fill(before >= top_p, float("-inf"))
    return torch.full_like(logits, float("-inf")).scatter(-1, order, kept)


def gumbel_noise(seed: str, position: int, vocabulary: int) -> torch.Tensor:
    """Return standard Gumbel noise per token, shape [vocab]. It depends on the three arguments only."""
    digest = blake2b(f"{seed}:{position}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(
        int.from_bytes(digest, "big")
    )  # on the CPU for any device, so that draws are equal
    return torch.rand(vocabulary, generator=generator).log_().neg_().log_().neg_()
