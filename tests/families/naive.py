"""Greedy decoding without a cache: the whole text through the model at every step."""

from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel


@dataclass
class NaiveTokens:
    """Greedy tokens, and for each one the difference between the two largest logits. A near tie is no evidence."""

    tokens: list[int] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)


def naive_tokens(model: PreTrainedModel, prompt: list[int], count: int) -> NaiveTokens:
    """Return `count` greedy tokens after a prompt."""
    written = NaiveTokens()
    for _ in range(count):
        logits = naive_logits(model, [*prompt, *written.tokens])[-1]
        best, second = logits.topk(2).values.tolist()
        written.tokens.append(int(logits.argmax()))
        written.gaps.append(best - second)
    return written


def naive_logits(model: PreTrainedModel, tokens: list[int]) -> torch.Tensor:
    """Return the logits after every token, shape [len(tokens), vocab]."""
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=torch.tensor([tokens]), use_cache=False).logits
    return logits[0].float()
