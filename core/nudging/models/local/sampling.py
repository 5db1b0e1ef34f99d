"""From logits to choices: which token comes next, and how sure the model is of its top one."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import torch

from nudging.models.base import Sampling

NUCLEUS = 512
"""So many of the most probable tokens reach `top_p` most of the time; to order all of them takes ten times as long."""


class Choice(NamedTuple):
    """The token that a model takes after a prefix, and the probability of its top token there."""

    token: int
    probability: float


def choose(
    logits: torch.Tensor, positions: Sequence[int], sampling: Sampling | None, masks: torch.Tensor | None = None
) -> list[Choice]:
    """One choice for each row.

    Args:
        logits: Of the next token after each position, shape (positions, vocabulary).
        positions: How many tokens stand before the chosen one, per row; the draw depends on it.
        sampling: None for greedy decoding.
        masks: Which tokens are permitted, shape (positions, up to vocabulary). The others are not chosen. The
            probability remains the one that the model gives by itself: to have no other choice is not to be sure.
    """
    # in float32 whatever the model's dtype: the threshold is compared with these
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
    # both to the host at once; float32 holds any token exactly
    columns = torch.stack((tokens.float(), probabilities)).tolist()
    return [Choice(int(token), probability) for token, probability in zip(*columns, strict=True)]


def _sampled(logits: torch.Tensor, noise: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Draws by the Gumbel-max trick: a token is drawn as often as it is probable, and its chances depend on no other's.

    Passes over one token and over many round differently. An inverse-CDF draw would sum those differences up over the
    vocabulary, and now and then land on the other side of a border; here two tokens must be as good as tied.
    """
    logits = logits / sampling.temperature
    if sampling.top_p < 1:
        logits = _nucleus(logits, sampling.top_p)
    return (logits + noise.to(logits.device)).argmax(dim=-1)


def _nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """The logits of the most probable tokens that together reach `top_p`, and minus infinity for the others."""
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
    """Standard Gumbel noise for each token, shape (vocabulary,), that depends on nothing but these three."""
    digest = blake2b(f"{seed}:{position}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big"))  # on the CPU, whatever the device
    return torch.rand(vocabulary, generator=generator).log_().neg_().log_().neg_()
