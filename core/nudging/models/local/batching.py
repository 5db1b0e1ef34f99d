"""Batch the forward passes of concurrent answers.

The sequences of a batch are concatenated into one row, and each attends to its own keys and values only. So nothing is
padded or copied, and a long prompt and single tokens can share a pass:

    input_ids     [1, a₁ a₂ a₃ b₁ c₁ c₂]          three sequences with 3, 1 and 2 new tokens
    queries       [1, heads, 6, head size]        split into 3, 1 and 2 rows for attention
    keys, values  one pair per sequence           [1, heads, cached + new, head size]

Only attention needs to know about it. transformers lets a model use a registered attention function: ours gives each
sequence to the usual one.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from inspect import signature
from time import perf_counter
from typing import Any, TypeVar, cast

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from nudging._logging import log, log_once
from nudging.models.decoding.device import Scheduler, device_thread
from nudging.models.decoding.timing import PassTimer
from nudging.models.local.self_check import similar
from nudging.models.local.state import LayeredState, State

T = TypeVar("T")

BATCHED_ATTENTION = "side_by_side"
"""The name of our attention function in transformers."""


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """A forward pass that one sequence waits for.

    Args:
        scheduler: The scheduler of its model.
        tokens: The new tokens.
        state: The state of the sequence so far. The pass extends it by the tokens.
        keep: The number of positions at the end whose logits are needed.
        logits: The result, shape [keep, vocab].
    """

    scheduler: "BatchScheduler"
    tokens: list[int]
    state: State
    keep: int
    logits: "Future[torch.Tensor]" = field(default_factory=Future)


class BatchScheduler(Scheduler[ForwardPass]):
    """Runs the forward passes of one model for any number of threads, several sequences at once where that works.

    Args:
        weights: The model. It can be batched if transformers lets it use a registered attention function, and its
            layers keep nothing but keys and values.
        timer: Records the time of every pass.
    """

    def __init__(self, weights: PreTrainedModel, timer: PassTimer) -> None:
        super().__init__(timer)
        self.weights = weights
        self._can_keep = "logits_to_keep" in signature(weights.forward).parameters
        self.can_batch = False
        self._checked = False  # True once a batched pass gave the same logits as single passes
        self._device = device_thread(str(weights.device))
        self._device.schedulers.add(self)

    def allow_batches(self, state: State) -> None:
        """Let several sequences share a pass, if their states are like this one and the model takes our attention."""
        if (
            isinstance(state, LayeredState)
            and state.can_batch
            and self.weights._supports_attention_backend
            and self.weights.config._attn_implementation == "sdpa"
        ):
            self.weights.set_attn_implementation(BATCHED_ATTENTION)
            self.can_batch = True

    def run(self, tokens: list[int], state: State, keep: int) -> torch.Tensor:
        """Return the logits after each of the last `keep` tokens, shape [keep, vocab]. The state grows by the tokens.

        Raises:
            Exception: The error of the pass. Some layers of the state may have been extended then.
        """
        forward_pass = ForwardPass(self, tokens, state, keep)
        self._device.put(forward_pass)
        return forward_pass.logits.result()

    def run_batch(self, passes: Sequence[ForwardPass]) -> None:
        if len(passes) == 1 or not self._run_together(passes):
            for one in passes:
                self._run_alone(one)

    def use_one_core(self) -> None:
        torch.set_num_threads(1)

    def _run_alone(self, one: ForwardPass) -> None:
        try:
            one.logits.set_result(self._single_pass(one))
        except Exception as error:  # for the caller, not for the device's thread
            one.logits.set_exception(error)

    def _run_together(self, passes: Sequence[ForwardPass]) -> bool:
        """Run the passes as one. Return False if that is impossible; the caches are unchanged then."""
        lengths = [one.state.length for one in passes]
        try:
            logits = self._timed(lambda: _batched_pass(self.weights, passes), passes)
            if not self._checked:  # the first batch is checked against single passes
                self._checked = True
                _crop(passes, lengths)
                single = [self._single_pass(one) for one in passes]
                if not all(map(similar, logits, single)):
                    self._stop_batching("batched passes give other logits than single ones")
                logits = single
        except Exception as error:  # for example too little memory for all of them, or an unusual architecture
            if not self._checked:
                self._stop_batching(f"a batched pass failed: {type(error).__name__}: {error}")
            else:
                log_once(
                    f"{self.weights.name_or_path}: a batched pass failed and is repeated one by one "
                    f"({type(error).__name__}: {error}). Lower at_once if it happens often"
                )
            _crop(passes, lengths)
            return False
        for one, length, its_logits in zip(passes, lengths, logits, strict=True):
            one.state.length = length + len(one.tokens)
            one.logits.set_result(its_logits)
        return True

    def _stop_batching(self, reason: str) -> None:
        self.can_batch = False
        log.warning(
            "%s runs one answer at a time from now on (%s). Answers stay right; for more speed use a server (base_url)",
            self.weights.name_or_path,
            reason,
        )

    def _single_pass(self, one: ForwardPass) -> torch.Tensor:
        def forward() -> torch.Tensor:
            logits: list[torch.Tensor] = []
            for part in one.state.parts(one.tokens):
                ids = torch.tensor([part], device=self.weights.device)  # [1, new]
                arguments = one.state.arguments() | self._kept(len(part), one.keep)
                if one.state.has_positions:
                    start = one.state.length
                    arguments["position_ids"] = torch.arange(start, start + len(part), device=ids.device)[None]
                output = self.weights(input_ids=ids, **arguments)
                one.state.extend(part, output)
                logits.append(output.logits[0, -one.keep :])  # some models return all rows
            return torch.cat(logits)[-one.keep :]

        return self._timed(forward, [one])

    def _kept(self, length: int, keep: int) -> dict[str, Any]:
        """Return the argument for the logits of the last `keep` of `length` rows only, if the model has it."""
        if not self._can_keep or keep >= length:
            return {}
        # a tensor, because Gemma 4 returns wrong rows for numbers above 1 (transformers 5.23)
        return {"logits_to_keep": 1 if keep == 1 else torch.arange(length - keep, length, device=self.weights.device)}

    def _timed(self, forward: Callable[[], T], passes: Sequence[ForwardPass]) -> T:
        started = perf_counter()
        with torch.inference_mode(), _no_cudnn_attention():
            logits = forward()
            if self.weights.device.type == "cuda":
                torch.cuda.current_stream(self.weights.device).synchronize()
        self.timer.record(sum(len(one.tokens) for one in passes), perf_counter() - started, len(passes))
        return logits


@contextmanager
def _no_cudnn_attention() -> Iterator[None]:
    """Keep torch from using cuDNN's attention within this context.

    cuDNN prepares a kernel for every new number of keys, so for every token: a pass takes three times as long. torch
    prefers it for half precision on some GPUs (2.11 on Hopper).
    """
    before = torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


_batch: ContextVar[Sequence[ForwardPass]] = ContextVar("batch", default=())
"""The passes of the batch that is going through a model now."""


class _BatchedCaches(Cache):
    """The caches of a batch, presented to the model as one."""

    def __init__(self, passes: Sequence[ForwardPass]) -> None:
        # one empty layer: the model asks it how a single row would be numbered and masked
        super().__init__(layers=[cast("Any", DynamicLayer)()])
        self._passes = passes

    def update(self, key_states: Any, value_states: Any, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        """Extend each sequence's cache, and return a list of all keys and a list of all values, one per sequence.

        Args:
            key_states: The new keys of the whole row, shape [1, heads, new tokens of all sequences, head size].
            value_states: The new values, of the same shape.
            layer_idx: The layer.
            *args: Not used.
            **kwargs: Not used.
        """
        lengths = [len(one.tokens) for one in self._passes]
        updated = [
            _cache(one).update(keys, values, layer_idx)
            for one, keys, values in zip(
                self._passes, key_states.split(lengths, dim=2), value_states.split(lengths, dim=2), strict=True
            )
        ]
        return tuple(map(list, zip(*updated, strict=True)))


def _batched_pass(weights: PreTrainedModel, passes: Sequence[ForwardPass]) -> list[torch.Tensor]:
    """Return the logits of each pass, shape [keep, vocab], from one pass over all of them."""
    device = weights.device
    starts = [one.state.length for one in passes]
    positions = [range(start, start + len(one.tokens)) for start, one in zip(starts, passes, strict=True)]
    kept, end = [], 0  # the indices in the row whose logits are needed
    for one in passes:
        end += len(one.tokens)
        kept.append(range(end - one.keep, end))
    token = _batch.set(passes)
    try:
        logits: Any = weights(
            input_ids=torch.tensor([[token for one in passes for token in one.tokens]], device=device),
            position_ids=torch.tensor([[position for one in positions for position in one]], device=device),
            past_key_values=_BatchedCaches(passes),
            use_cache=True,
            logits_to_keep=torch.tensor([index for one in kept for index in one], device=device),
        ).logits[0]  # [sum of keep, vocab]
    finally:
        _batch.reset(token)
    return list(logits.split([one.keep for one in passes]))


def _attention(
    module: torch.nn.Module, query: Any, key: Any, value: Any, attention_mask: Any = None, **kwargs: Any
) -> Any:
    """Let each sequence of the batch attend to its own keys and values."""
    passes = _batch.get()
    if not passes:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    queries = query.split([len(one.tokens) for one in passes], dim=2)  # each [1, heads, new, head size]
    masks = attention_mask or [None] * len(passes)
    attended = [
        sdpa_attention_forward(module, *its, **kwargs)[0] for its in zip(queries, key, value, masks, strict=True)
    ]
    return torch.cat(attended, dim=1), None  # [1, new of all, heads, head size]


def _masks(batch_size: int, q_length: int, kv_length: int, q_offset: int = 0, kv_offset: int = 0, **kwargs: Any) -> Any:
    """Return the attention mask of each sequence, by the model's own rule (causal, or a sliding window)."""
    passes = _batch.get()
    if not passes:
        return sdpa_mask(batch_size, q_length, kv_length, q_offset, kv_offset, **kwargs)
    starts = [one.state.length for one in passes]
    return [
        sdpa_mask(1, len(one.tokens), start + len(one.tokens), start, **kwargs)
        for one, start in zip(passes, starts, strict=True)
    ]


AttentionInterface.register(BATCHED_ATTENTION, _attention)
AttentionMaskInterface.register(BATCHED_ATTENTION, _masks)


def _cache(one: ForwardPass) -> DynamicCache:
    return cast("LayeredState", one.state).cache


def _crop(passes: Sequence[ForwardPass], lengths: Sequence[int]) -> None:
    """Crop the caches to these lengths, wherever a failed pass stopped. Layers may differ in length then."""
    for one, length in zip(passes, lengths, strict=True):
        one.state.length = length
        for layer in cast("list[DynamicLayer]", _cache(one).layers):
            if layer.is_initialized:
                keys, values = cast("torch.Tensor", layer.keys), cast("torch.Tensor", layer.values)
                layer.keys, layer.values = keys[..., :length, :], values[..., :length, :]
