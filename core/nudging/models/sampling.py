"""From logits to choices: which token comes next, and how sure the model is of its top one."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import torch

from nudging.models.model import Sampling


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
    top, tokens = logits.max(dim=-1)
    total = (logits - top.unsqueeze(-1)).exp_().sum(dim=-1)
    probabilities = 1 / total
    if masks is not None:
        logits = logits[:, : masks.shape[1]].masked_fill(~masks.to(logits.device), float("-inf"))
        permitted, tokens = logits.max(dim=-1)
        probabilities = (permitted - top).exp() / total
    if sampling is not None:
        tokens = _sampled(logits, positions, sampling)
    # both to the host at once; float32 holds any token exactly
    columns = torch.stack((tokens.float(), probabilities)).tolist()
    return [Choice(int(token), probability) for token, probability in zip(*columns, strict=True)]


def _sampled(logits: torch.Tensor, positions: Sequence[int], sampling: Sampling) -> torch.Tensor:
    """Inverse-CDF draws: the first token at which the cumulated probability exceeds a uniform number."""
    probabilities = (logits / sampling.temperature).softmax(dim=-1)
    order = None
    if sampling.top_p < 1:
        probabilities, order = probabilities.sort(dim=-1, descending=True, stable=True)
        before = probabilities.cumsum(dim=-1) - probabilities
        probabilities = probabilities.masked_fill(before >= sampling.top_p, 0.0)
    cumulated = probabilities.cumsum(dim=-1)
    uniform = cumulated.new_tensor([[uniform_draw(sampling.seed, position)] for position in positions])
    drawn = torch.searchsorted(cumulated, uniform * cumulated[:, -1:], right=True)
    possible = (probabilities > 0).sum(dim=-1, keepdim=True) if order is not None else logits.shape[-1]
    drawn = torch.minimum(drawn, torch.as_tensor(possible - 1, device=drawn.device))  # rounding may step over the end
    return (drawn if order is None else order.gather(-1, drawn)).squeeze(-1)


def uniform_draw(seed: str, position: int) -> float:
    """A number in [0, 1) that depends on nothing else, on any machine."""
    digest = blake2b(f"{seed}:{position}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32
