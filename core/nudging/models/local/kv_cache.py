"""A KV cache addressed by the tokens it holds: asking again, or from an earlier point, costs only what is new."""

from collections.abc import Callable, Generator, Sequence
from itertools import takewhile
from typing import cast

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from nudging.models.base import Sampling
from nudging.models.local.drafts import Drafts
from nudging.models.local.sampling import Choice, choose
from nudging.models.local.token_mask import Constraint

Forward = Callable[[list[int], DynamicCache, int], torch.Tensor]
"""(tokens, cache, keep) -> the logits after the last `keep` of the tokens, shape (keep, vocabulary)."""


SCORED_AT_ONCE = 64
"""Tokens."""


class KVCache:
    """The keys and values of one sequence of tokens, with the choices that were made along it.

    Layers are full-length ones, also for sliding-window models, whose masks see to the window: a layer that forgets
    what left the window could not be rolled back.
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self._layers = DynamicCache()
        self._choices: list[Choice | None] = []  # [i] is what follows tokens[: i + 1], where it was worked out
        self._sampling: Sampling | None = None
        self._constraint: Constraint | None = None

    def use(self, sampling: Sampling | None, constraint: Constraint | None = None) -> None:
        """From now on choose so; forget the choices that were made another way."""
        if (sampling, constraint) != (self._sampling, self._constraint):
            self._choices = [None] * len(self.tokens)
            self._sampling, self._constraint = sampling, constraint

    def choices_after(
        self, prefix: Sequence[int], limit: int, forward: Forward, drafts: Drafts | None = None
    ) -> Generator[Choice, None, None]:
        """What the model takes after the prefix, then after the prefix and that, and so on, `limit` times.

        A draft is scored together with the first token that must be fed before it. Only where the model's own choices
        follow it are its scores read, so that it saves forward passes and changes nothing. A token that a constraint
        forces is not asked for: it is fed with the next one that is.
        """
        path, constraint = list(prefix), self._constraint
        known = common_prefix_length(self.tokens, path)
        for left in range(limit, 0, -1):
            forced = constraint.forced() if constraint else None
            if forced is not None:
                choice = Choice(forced, 1.0)
            else:
                if known < len(path) or self._choices[len(path) - 1] is None:
                    self._feed(path, min(known, len(path) - 1), left, forward, drafts)
                    known = len(path)
                choice = cast("Choice", self._choices[len(path) - 1])
            yield choice
            if constraint:
                constraint.push(choice.token)
            if known == len(path) and self.tokens[known : known + 1] == [choice.token]:
                known += 1
            path.append(choice.token)

    def logprobs(self, tokens: Sequence[int], start: int, forward: Forward) -> list[float]:
        """Log-probability of each of the tokens from `start` on, after all before it."""
        found: list[float] = []
        for end, logits in self._along(tokens[:-1], start - 1, forward):
            wanted = torch.tensor([tokens[end - len(logits) + 1 : end + 1]], device=logits.device)
            found += logits.float().log_softmax(dim=-1).gather(-1, wanted.T).flatten().tolist()
        return found

    def choices_along(self, tokens: Sequence[int], start: int, forward: Forward) -> list[Choice]:
        """What the model takes in place of each of the tokens from `start` on, after all before it."""
        found: list[Choice] = []
        for end, logits in self._along(tokens[:-1], start - 1, forward):
            found += choose(logits, range(end - len(logits) + 1, end + 1), self._sampling)
        return found

    def fork(self, length: int) -> "KVCache":
        """Another cache with a copy of the first `length` tokens."""
        twin = KVCache()
        twin.tokens, twin._choices = self.tokens[:length], self._choices[:length]
        twin._sampling, twin._constraint = self._sampling, self._constraint
        if length:
            for index, layer in enumerate(cast("list[DynamicLayer]", self._layers.layers)):
                keys, values = cast("torch.Tensor", layer.keys), cast("torch.Tensor", layer.values)
                twin._layers.update(keys[..., :length, :], values[..., :length, :], index)
        return twin

    def crop(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        if excess := len(self.tokens) - length:
            self._layers.crop(-excess)
            del self.tokens[length:], self._choices[length:]

    def _feed(self, path: list[int], keep: int, limit: int, forward: Forward, drafts: Drafts | None) -> None:
        """Run the model over the path from token `keep` on and over a draft, and note its choices."""
        draft: list[int] = []
        if drafts:
            drafts.drop(self.tokens[keep:])
            draft = drafts.after(path, len(path) - keep, limit - 1)
        self.crop(keep)
        if self._constraint:
            draft = self._constraint.permitted(draft)
        masks = self._constraint.masks(draft) if self._constraint else None
        logits = self._fed(path[keep:] + draft, forward, len(draft) + 1)
        positions = range(len(path), len(path) + len(draft) + 1)
        self._choices[-len(positions) :] = choose(logits, positions, self._sampling, masks)

    def _along(
        self, tokens: Sequence[int], start: int, forward: Forward
    ) -> Generator[tuple[int, torch.Tensor], None, None]:
        """The logits after each of the tokens from `start` on, and after how many tokens the last of them stand.

        A few rows at a time: a large vocabulary makes a megabyte of each.
        """
        if start >= len(tokens):
            return
        self.crop(min(common_prefix_length(self.tokens, tokens), start))
        while (held := len(self.tokens)) < len(tokens):
            end = min(max(start, held) + SCORED_AT_ONCE, len(tokens))
            yield end, self._fed(list(tokens[held:end]), forward, end - max(start, held))

    def _fed(self, tokens: list[int], forward: Forward, keep: int) -> torch.Tensor:
        """The logits after the last `keep` of these tokens, which follow those that the cache holds."""
        try:
            logits = forward(tokens, self._layers, keep)
        except BaseException:
            self.tokens, self._choices, self._layers = [], [], DynamicCache()  # half-written layers are no use
            raise
        self.tokens += tokens
        self._choices += [None] * len(tokens)
        return logits


def common_prefix_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
