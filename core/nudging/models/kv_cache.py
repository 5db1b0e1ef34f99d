"""A KV cache addressed by the tokens it holds: asking again, or from an earlier point, costs only what is new."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from itertools import takewhile
from typing import cast

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from nudging.models.model import Sampling
from nudging.models.sampling import Choice, choose

Forward = Callable[[list[int], DynamicCache, int], torch.Tensor]
"""(tokens, cache, keep) -> the logits after the last `keep` of the tokens, shape (keep, vocabulary)."""


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

    def use(self, sampling: Sampling | None) -> None:
        """Forget the choices if they were drawn another way."""
        if sampling != self._sampling:
            self._choices = [None] * len(self.tokens)
            self._sampling = sampling

    def choices_after(
        self, prefix: Sequence[int], hint: Sequence[int], forward: Forward
    ) -> Generator[Choice, None, None]:
        """What the model takes after the prefix, then after the prefix and that, and so on without end.

        The hint is scored together with the first token that must be fed before it. Only where the model's own choices
        follow it are its scores read, so that it saves forward passes and changes nothing.
        """
        path, expected = list(prefix), deque(hint)
        known = common_prefix_length(self.tokens, path)
        while True:
            if known < len(path) or self._choices[len(path) - 1] is None:
                self._feed(path, list(expected), min(known, len(path) - 1), forward)
            choice = cast("Choice", self._choices[len(path) - 1])
            yield choice
            known = len(path)
            path.append(choice.token)
            if self.tokens[known : known + 1] == [choice.token]:
                known += 1
            if expected and expected.popleft() != choice.token:
                expected.clear()

    def fork(self, length: int) -> "KVCache":
        """Another cache with a copy of the first `length` tokens."""
        twin = KVCache()
        twin.tokens, twin._choices, twin._sampling = self.tokens[:length], self._choices[:length], self._sampling
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

    def _feed(self, path: list[int], hint: list[int], keep: int, forward: Forward) -> None:
        """Run the model over the path from token `keep` on and over the hint, and note its choices."""
        self.crop(keep)
        new = path[keep:] + hint
        try:
            logits = forward(new, self._layers, len(hint) + 1)
            choices = choose(logits, range(len(path), len(path) + len(hint) + 1), self._sampling)
        except BaseException:
            self.tokens, self._choices, self._layers = [], [], DynamicCache()  # half-written layers are no use
            raise
        self.tokens += new
        self._choices += [*([None] * (len(path) - keep - 1)), *choices]


def common_prefix_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
