"""The speculative loop: propose a draft, verify it in one forward pass, accept what agrees.

A draft can come from anywhere and can be wrong. It saves forward passes and never changes a choice: this is speculative
decoding (Leviathan et al., arXiv 2211.17192) in its greedy form. Sampled tokens are a function of seed and position
(`sampling.py`), so the same comparison is exact for them too.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nudging.models.decoding.drafts import Drafts
from nudging.models.decoding.kv_cache import KVCache, common_prefix_length
from nudging.models.decoding.sampling import Choice
from nudging.models.decoding.token_mask import TokenMask

Feed: TypeAlias = Callable[[list[int], int, "NDArray[np.bool_] | None"], list[Choice]]
"""(tokens, keep, masks) -> the choices after each of the last `keep` tokens, from one forward pass over the tokens.

The masks have the shape [keep, vocab].
"""


@dataclass
class SpeculativeDecoder:
    """Decodes with one KV cache.

    Args:
        cache: The cache.
        feed: Runs a forward pass that extends the cache.
        mask: The tokens that the answer's grammar allows, if it has one.
    """

    cache: KVCache
    feed: Feed
    mask: TokenMask | None = None

    def choices(self, prefix: Sequence[int], limit: int, drafts: Drafts | None) -> Generator[Choice, None, None]:
        """Yield the model's choice after the prefix, after the prefix and that choice, and so on, `limit` times.

        A token that the grammar forces needs no forward pass. It is fed together with the next token that does.
        """
        path, accepted = list(prefix), deque[Choice]()
        for left in range(limit, 0, -1):
            forced = self.mask.forced() if self.mask else None
            if forced is not None:
                if accepted and accepted.popleft().token != forced:
                    accepted.clear()
                choice = Choice(forced, 1.0)
            else:
                if not accepted:
                    accepted.extend(self._next_choices(path, left, drafts))
                choice = accepted.popleft()
            yield choice
            if self.mask:
                self.mask.push(choice.token)
            path.append(choice.token)

    def check(self, path: list[int], follows: list[int]) -> Choice:
        """Return the model's choice after the path. The tokens that follow it will be checked next, and are fed too."""
        forced = self.mask.forced() if self.mask else None
        if forced is not None:
            return Choice(forced, 1.0)
        cached = common_prefix_length(self.cache.tokens, path)
        if cached < len(path) or self.cache.choices[cached - 1] is None:
            draft = self.mask.allowed_prefix(follows) if self.mask else follows
            self.verify(path, min(cached, len(path) - 1), draft)
        choice = self.cache.choices[len(path) - 1]
        assert choice is not None  # noqa: S101 (the pass has just made it)
        return choice

    def _next_choices(self, path: list[int], limit: int, drafts: Drafts | None) -> list[Choice]:
        """Return at least one choice after the path."""
        cached = common_prefix_length(self.cache.tokens, path)
        if cached < len(path) or self.cache.choices[cached - 1] is None:
            cached = min(cached, len(path) - 1)  # the last token must be fed to get the logits after it
            draft = self.propose(path, cached, limit, drafts) if drafts else []
            self.verify(path, cached, draft)
        # tokens held after the path are a draft that was verified just now, or earlier
        return accept(self.cache.tokens[len(path) :], self.cache.choices[len(path) - 1 :])

    def propose(self, path: list[int], cached: int, limit: int, drafts: Drafts) -> list[int]:
        """Return tokens that may come after the path, as many as are worth feeding with it."""
        drafts.remember(self.cache.tokens[cached:])
        draft = drafts.after(path, len(path) - cached, limit - 1)
        return self.mask.allowed_prefix(draft) if self.mask else draft

    def verify(self, path: list[int], cached: int, draft: list[int]) -> None:
        """Store the model's choices after the path and after each draft token, from one forward pass.

        Tokens that the cache holds beyond `cached` are dropped first: among them drafts that were rejected.
        """
        self.cache.crop(cached)
        masks = self.mask.masks(draft) if self.mask else None  # [1 + draft, vocab]
        new = path[len(self.cache.tokens) :]
        choices = self.feed(new + draft, 1 + len(draft), masks)
        self.cache.choices[len(path) - 1 :] = choices


def accept(draft: Sequence[int], choices: Sequence[Choice | None]) -> list[Choice]:
    """Return the choices that hold: those that equal the draft, and the first one that differs from it.

    Args:
        draft: The draft tokens, x_1 … x_k.
        choices: The model's choice before x_1, after x_1, …, after x_k. None if unknown.
    """
    accepted: list[Choice] = []
    for position, choice in enumerate(choices):
        if choice is None:
            break
        accepted.append(choice)
        if position == len(draft) or choice.token != draft[position]:
            break
    return accepted
