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
    logits: torch.Tensor,
    positions: Sequence[int],
    sampling: Sampling | None,
    masks: NDArray[np.bool_] | None = None,
    alternatives: int = 0,
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
    columns = [tokens.float(), probabilities]  # float32 holds every token id exactly
    if sampling is not None:
        noise = torch.stack(
            [torch.from_numpy(gumbel_noise(sampling.seed, position, vocabulary)) for position in positions]
        )
        sampled = _sampled(logits, noise[:, : logits.shape[1]], sampling)
        columns = [sampled.float(), probabilities, (logits.gather(1, sampled[:, None])[:, 0] - top).exp() / total]
    if alternatives:
        listed, order = logits.topk(min(alternatives, logits.shape[1]), dim=-1)
        columns += [*order.float().T, *((listed - top.unsqueeze(-1)).exp() / total.unsqueeze(-1)).T]
    # one transfer to the host for all
    return [_choice(row, sampling is not None) for row in torch.stack(columns, dim=1).tolist()]


def _choice(row: list[float], is_sampled: bool) -> Choice:
    """Return the choice in a row.

    Args:
        row: The token, the top probability, the token's own probability if it was sampled, the tokens of all
            alternatives, and then their probabilities.
        is_sampled: True if the token was sampled.
    """
    first = 3 if is_sampled else 2
    count = (len(row) - first) // 2
    listed = zip(row[first : first + count], row[first + count :], strict=True)
    return Choice(
        int(row[0]),
        row[1],
        row[2] if is_sampled else None,
        tuple((int(token), probability) for token, probability in listed if probability > 0),
    )


def _sampled(logits: torch.Tensor, noise: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Sample with the Gumbel-max trick."""
    logits = logits / sampling.temperature
    if sampling.top_p < 1:
        logits = _nucleus(logits, sampling.top_p)
    return (logits + noise.to(logits.device)).argmax(dim=-1)


def _nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Set all logits to -inf but those of the most probable tokens that together reach `top_p`, one at least."""
    total = logits.logsumexp(dim=-1, keepdim=True)
    for size in (min(NUCLEUS, logits.shape[-1]), logits.shape[-1]):
        ordered, order = logits.topk(size, dim=-1)
        probabilities = (ordered - total).exp()
        before = probabilities.cumsum(dim=-1) - probabilities
        if size == logits.shape[-1] or bool((before[:, -1] >= top_p).all()):
            break
    dropped = before >= top_p
    dropped[:, 0] = False
    kept = ordered.masked_fill(dropped, float("-inf"))
    return torch.full_like(logits, float("-inf")).scatter(-1, order, kept)
