"""The cache of one token sequence in a transformers model."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from nudging.models.decoding.kv_cache import KVCache
from nudging.models.local.state import Saved, State, size_of

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

SNAPSHOTS = 16
"""Maximum number of snapshots of one sequence."""

SNAPSHOT_BYTES = 256 << 20
"""Maximum size of the snapshots of one sequence. Two are kept in any case."""

EVERY = 4
"""Number of tokens between two snapshots of an answer."""

CHUNK = 256
"""Number of tokens between two snapshots of a prompt."""

BEFORE_END = (128, 32)
"""Distances of further snapshots from the end of a prompt."""

LONG = 32
"""Number of new tokens above which snapshots are taken among them."""


class TransformersCache(KVCache):
    """One token sequence in a transformers model.

    A state that cannot be cropped, such as that of a recurrent layer, goes back to the nearest snapshot, and the tokens
    since are fed again. A snapshot is a copy of the state. Its size does not depend on the length of the text, unless
    the model has a cache class of its own. Snapshots are taken where decoding goes back to:

    - before a draft, which may be rejected
    - every few tokens of an answer
    - in a prompt every 256 tokens, and 128 and 32 tokens before its end: the next prompt may have the same start
    - a few tokens before the end of a prompt: its last tokens may be other ones once the answer is behind it

    Each snapshot in a prompt begins another pass. A model that takes tokens one by one after its first pass has only
    the last of them, because it would pay for each token with a pass.

    Args:
        forward: Runs a forward pass: (tokens, state, keep) -> the logits after each of the last `keep` tokens, shape
            [keep, vocab].
        new_state: Returns the state of an empty sequence.
    """

    def __init__(
        self, forward: "Callable[[list[int], State, int], torch.Tensor]", new_state: Callable[[], State]
    ) -> None:
        super().__init__()
        self._forward, self._new_state = forward, new_state
        self._state = new_state()
        self._snapshots: list[tuple[int, Saved]] = []  # (length, copy), by length
        self._at_text_end = False

    def _run(self, tokens: list[int], keep: int, read: Callable[[Any], T]) -> T:
        if self._state.can_crop:
            return read(self._forward(tokens, self._state, keep))
        return read(self._run_with_snapshots(tokens, keep))

    def _run_with_snapshots(self, tokens: list[int], keep: int) -> "torch.Tensor":
        """Return the logits after each of the last `keep` tokens, and take snapshots before and among the tokens."""
        import torch

        length, settled = len(self.tokens), len(tokens) - keep + 1  # tokens after the settled ones are a draft
        is_draft = settled < len(tokens)
        ends = self._snapshots_in_prompt(settled)
        if is_draft and settled > 1:  # a pass of its own, so that a rejected draft does not take them along
            ends.append(settled)
        if not ends and (is_draft or self._at_text_end or length - self._last_snapshot >= EVERY):
            self._take_snapshot(length)
        logits, start = [], 0
        for end in ends:
            logits.append(self._forward(tokens[start:end], self._state, 1))
            self._take_snapshot(length + end)
            start = end
        logits.append(self._forward(tokens[start:], self._state, min(keep, len(tokens) - start)))
        self._at_text_end = settled > 1 and not is_draft
        return torch.cat(logits)[-keep:]

    def _snapshots_in_prompt(self, count: int) -> list[int]:
        """Return the numbers of tokens after which snapshots are taken among `count` new ones."""
        if count <= LONG:
            return []
        distances = () if self._state.one_by_one else (*range(count // CHUNK * CHUNK, 0, -CHUNK), *BEFORE_END)
        return [*(count - distance for distance in distances if distance <= count - LONG), count - EVERY]

    @property
    def _last_snapshot(self) -> int:
        return self._snapshots[-1][0] if self._snapshots else 0

    def _take_snapshot(self, length: int) -> None:
        """Save the state, which has this length. Keep more of the recent snapshots than of the early ones."""
        kept = self._snapshots
        if not length or (kept and kept[-1][0] == length):
            return
        saved = self._state.save()
        kept.append((length, saved))
        if len(kept) > max(2, min(SNAPSHOTS, SNAPSHOT_BYTES // max(1, size_of(saved)))):
            # drop the one whose neighbours are nearest to each other, as a share of its distance from the end
            ends = [0, *(at for at, _ in kept)]
            gaps = [(ends[i + 2] - ends[i]) / (length - ends[i + 1]) for i in range(len(kept) - 1)]
            del kept[gaps.index(min(gaps))]

    def _clear(self) -> None:
        self._state, self._snapshots = self._new_state(), []

    def _crop(self, length: int) -> int:
        if self._state.can_crop:
            self._state.crop(length)
            return length
        self._state, self._snapshots, length = self._at(length)
        return length

    def _fork(self, length: int) -> "tuple[TransformersCache, int]":
        fork = TransformersCache(self._forward, self._new_state)
        fork._state, fork._snapshots, length = self._at(length)
        return fork, length

    def _at(self, length: int) -> tuple[State, list[tuple[int, Saved]], int]:
        """Return the state at this length or at the last snapshot before it, its snapshots and its length."""
        snapshots = [one for one in self._snapshots if one[0] <= length]
        if not self._state.can_crop:
            length = snapshots[-1][0] if snapshots else 0
        saved = snapshots[-1][1] if snapshots else None
        return self._state.at(length, saved), snapshots, length
