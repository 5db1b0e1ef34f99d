"""From logits to choices on the device of the logits, so that two numbers per row are copied from it.

The choices are those of `decoding/sampling.py`, which explains the arguments.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nudging.models.base import Sampling
from nudging.models.decoding.sampling import NUCLEUS, Choice, gumbel_noise


def choose(
    logits: torch.Tensor, positions: Sequence[int], sampling: Sampling | None, masks: NDArray[np.bool_] | None = None
) -> list[Choice]:
    """Return one choice per row of logits, shape [rows, vocab]."""
    # float32 for any dtype of the model: the threshold is compared with these probabilities
    logits = logits.float()
    vocabulary = logits.shape[1]
    top, tokens = logits.max(dim=-1)
    total = (logits - top.unsqueeze(-1)).exp_().sum(dim=-1)
    probabilities = 1 / total
    if masks is not None:
        logits = logits[:, : masks.shape[1]].masked_fill(torch.from_numpy(~masks).to(logits.device), float("-inf"))
        permitted, tokens = logits.max(dim=-1)
        probabilities = (permitted - top).exp() / total
    if sampling is not None:
        noise = torch.stack(
            [torch.from_numpy(gumbel_noise(sampling.seed, position, vocabulary)) for position in positions]
        )
        tokens = _sampled(logits, noise[:, : logits.shape[1]], sampling)
    # one transfer to the host for both; float32 holds every token id exactly
    columns = torch.stack((tokens.float(), probabilities)).tolist()
    return [Choice(int(token), probability) for token, probability in zip(*columns, strict=True)]


def _sampled(logits: torch.Tensor, noise: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Sample with the Gumbel-max trick."""
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
