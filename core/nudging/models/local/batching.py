"""Forward passes that wait for one device; those of one model go through it together.

Sequences of any lengths stand side by side in one row, each attending to its own keys and values alone. So nothing is
padded or copied, and a long prompt and single tokens may share a pass. Only attention has to know: transformers gets an
implementation of it that hands each sequence to the usual one.
"""

import atexit
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from threading import Condition, Lock, Thread
from time import perf_counter
from typing import Any, TypeVar, cast

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from nudging.models.local.timing import Pace

T = TypeVar("T")

MOST_TOKENS = 512
"""That go through a model together, if they are of several sequences."""

PATIENCE = 0.1
"""How long a pass may wait for others that are likely to come, as a share of what it takes itself."""

SIDE_BY_SIDE = "side_by_side"
"""The name of the attention implementation."""

ALIKE = 0.99
"""The least correlation of the logits of a pass together and of passes alone."""


@dataclass(frozen=True, eq=False)
class _Pass:
    """One sequence that wants to go on."""

    passes: "Passes"
    tokens: list[int]
    cache: DynamicCache
    keep: int
    logits: "Future[torch.Tensor]" = field(default_factory=Future)


class Passes:
    """The forward passes of one model, asked for by any number of threads.

    Args:
        weights: The model. One whose attention is transformers' own takes several sequences at once.
    """

    def __init__(self, weights: PreTrainedModel, pace: Pace) -> None:
        self.weights, self.pace = weights, pace
        self.usual = 1  # how many sequences went together last
        self.can_batch = weights._supports_attention_backend and weights.config._attn_implementation == "sdpa"
        self._tried = False
        if self.can_batch:
            weights.set_attn_implementation(SIDE_BY_SIDE)
        self._device = _device(str(weights.device))

    def run(self, tokens: list[int], cache: DynamicCache, keep: int) -> torch.Tensor:
        """The logits after the last `keep` of the tokens, shape (keep, vocabulary). The cache grows by the tokens.

        Raises:
            Exception: What the pass failed with. The layers of the cache may then be half-written.
        """
        wanted = _Pass(self, tokens, cache, keep)
        self._device.put(wanted)
        return wanted.logits.result()

    def work(self, passes: Sequence[_Pass]) -> None:
        """Run these passes, together if there are several."""
        if len(passes) == 1 or not self._together(passes):
            for one in passes:
                self._settle(one)

    def _settle(self, one: _Pass) -> None:
        try:
            one.logits.set_result(self._alone(one))
        except Exception as error:  # the caller's, not the worker's
            one.logits.set_exception(error)

    def _together(self, passes: Sequence[_Pass]) -> bool:
        """Run them in one pass; whether that was possible. If not, nothing has happened."""
        lengths = [one.cache.get_seq_length() for one in passes]
        try:
            logits = self._timed(lambda: _side_by_side(self.weights, passes), passes)
            if not self._tried:
                self._tried = True
                _cut(passes, lengths)
                alone = [self._alone(one) for one in passes]
                self.can_batch = all(map(_alike, logits, alone))
                logits = alone
        except Exception:  # too little memory, say, or a model that is made another way: one by one it may go
            self.can_batch = self._tried
            _cut(passes, lengths)
            return False
        for one, its_logits in zip(passes, logits, strict=True):
            one.logits.set_result(its_logits)
        return True

    def _alone(self, one: _Pass) -> torch.Tensor:
        def forward() -> torch.Tensor:
            ids = torch.tensor([one.tokens], device=self.weights.device)
            output = self.weights(input_ids=ids, past_key_values=one.cache, use_cache=True, logits_to_keep=one.keep)
            return cast("torch.Tensor", output.logits[0, -one.keep :])

        return self._timed(forward, [one])

    def _timed(self, forward: Callable[[], T], passes: Sequence[_Pass]) -> T:
        started = perf_counter()
        with torch.inference_mode():
            logits = forward()
            if self.weights.device.type == "cuda":
                torch.cuda.current_stream(self.weights.device).synchronize()
        self.pace.took(sum(len(one.tokens) for one in passes), perf_counter() - started, len(passes))
        return logits


class _Device:
    """A thread that runs the passes of all models on one device one by one: at once they would only share its cores."""

    def __init__(self, name: str) -> None:
        self._waiting: list[_Pass] = []
        self._changed = Condition()
        self._running = Lock()
        Thread(target=self._work, name=f"nudging on {name}", daemon=True).start()
        # the interpreter aborts if it ends in the middle of a pass (after Ctrl-C, say): let that end, begin no other
        atexit.register(self._running.acquire)

    def put(self, wanted: _Pass) -> None:
        with self._changed:
            self._waiting.append(wanted)
            self._changed.notify()

    def _work(self) -> None:
        while True:
            together = self._next()
            with self._running:
                together[0].passes.work(together)
            del together  # it holds on to a model and to logits

    def _next(self) -> list[_Pass]:
        """The pass that waits longest, and those that can go with it."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
            passes = self._waiting[0].passes
            if passes.usual > 1:
                self._changed.wait_for(
                    lambda: sum(one.passes is passes for one in self._waiting) >= passes.usual,
                    timeout=PATIENCE * passes.pace.cost(1),
                )
            together: list[_Pass] = []
            for one in self._waiting:
                fits = sum(len(other.tokens) for other in together) + len(one.tokens) <= MOST_TOKENS
                if one.passes is passes and (not together or (fits and passes.can_batch)):
                    together.append(one)
            self._waiting = [one for one in self._waiting if one not in together]
            passes.usual = len(together)
            return together


@cache
def _device(name: str) -> _Device:
    return _Device(name)


_running: ContextVar[Sequence[_Pass]] = ContextVar("running", default=())
"""The passes that are going through a model together."""


class _Beside(Cache):
    """The caches of several sequences as one."""

    def __init__(self, passes: Sequence[_Pass]) -> None:
        # an empty layer: it says how one row alone would be numbered and masked
        super().__init__(layers=[cast("Any", DynamicLayer)()])
        self._passes = passes

    def update(self, key_states: Any, value_states: Any, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        """The keys and the values of each sequence, in two lists."""
        lengths = [len(one.tokens) for one in self._passes]
        updated = [
            one.cache.update(keys, values, layer_idx)
            for one, keys, values in zip(
                self._passes, key_states.split(lengths, dim=2), value_states.split(lengths, dim=2), strict=True
            )
        ]
        return tuple(map(list, zip(*updated, strict=True)))


def _side_by_side(weights: PreTrainedModel, passes: Sequence[_Pass]) -> list[torch.Tensor]:
    """The logits that each of the passes wants."""
    device = weights.device
    starts = [one.cache.get_seq_length() for one in passes]
    positions = [range(start, start + len(one.tokens)) for start, one in zip(starts, passes, strict=True)]
    ends, end = [], 0
    for one in passes:
        end += len(one.tokens)
        ends.append(range(end - one.keep, end))
    token = _running.set(passes)
    try:
        logits: Any = weights(
            input_ids=torch.tensor([[token for one in passes for token in one.tokens]], device=device),
            position_ids=torch.tensor([[position for one in positions for position in one]], device=device),
            past_key_values=_Beside(passes),
            use_cache=True,
            logits_to_keep=torch.tensor([index for one in ends for index in one], device=device),
        ).logits[0]
    finally:
        _running.reset(token)
    return list(logits.split([one.keep for one in passes]))


def _attention(module: torch.nn.Module, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
    """Each sequence attends to its own keys."""
    passes = _running.get()
    if not passes:
        return sdpa_attention_forward(module, query, key, value, mask, **kwargs)
    queries = query.split([len(one.tokens) for one in passes], dim=2)
    masks = mask or [None] * len(passes)
    attended = [
        sdpa_attention_forward(module, *its, **kwargs)[0] for its in zip(queries, key, value, masks, strict=True)
    ]
    return torch.cat(attended, dim=1), None


def _masks(batch_size: int, q_length: int, kv_length: int, q_offset: int = 0, kv_offset: int = 0, **kwargs: Any) -> Any:
    """What each sequence may attend to, by the rule that the model has for it (all before, or a window)."""
    passes = _running.get()
    if not passes:
        return sdpa_mask(batch_size, q_length, kv_length, q_offset, kv_offset, **kwargs)
    starts = [one.cache.get_seq_length() for one in passes]
    return [
        sdpa_mask(1, len(one.tokens), start + len(one.tokens), start, **kwargs)
        for one, start in zip(passes, starts, strict=True)
    ]


AttentionInterface.register(SIDE_BY_SIDE, _attention)
AttentionMaskInterface.register(SIDE_BY_SIDE, _masks)


def _cut(passes: Sequence[_Pass], lengths: Sequence[int]) -> None:
    """Make the caches as long as they were, however far a pass got."""
    for one, length in zip(passes, lengths, strict=True):
        for layer in cast("list[DynamicLayer]", one.cache.layers):
            if layer.is_initialized:
                keys, values = cast("torch.Tensor", layer.keys), cast("torch.Tensor", layer.values)
                layer.keys, layer.values = keys[..., :length, :], values[..., :length, :]


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two passes found the same, but for rounding."""
    one, other = ((logits - logits.mean(dim=-1, keepdim=True)).float() for logits in (one, other))
    return bool((torch.cosine_similarity(one, other, dim=-1) > ALIKE).all())
