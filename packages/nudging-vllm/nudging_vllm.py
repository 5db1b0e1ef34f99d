"""A logits processor for vLLM that ends a request where the model is unsure of its next token.

A request turns it on with `"vllm_xargs": {"nudging_threshold": 0.4}`. README.md describes the arguments and the reply.

vLLM loads the class through the entry point `nudging` of the group `vllm.logits_processors`. One class serves both of
vLLM's model runners: it has the interface of V1 (rows of a batch that are moved) and that of V2 (slots, with the
position of each row on the device).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from vllm.sampling_params import SamplingParams, SamplingType
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, process_dict_updates

try:
    from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as LogitsProcessorV2
except ImportError:  # a vLLM without Model Runner V2, or one whose V2 has no custom processors

    class LogitsProcessorV2:  # type: ignore[no-redef]
        """Stands for the missing interface."""


__all__ = ["StopWhereUnsure"]

THRESHOLD, SKIP = "nudging_threshold", "nudging_skip"

NEVER = -math.inf
"""A limit that no log-probability is below."""

CERTAIN = 1e20
"""A logit that leaves the other tokens no probability, and stays finite at any temperature."""


class StopWhereUnsure(LogitsProcessor, LogitsProcessorV2):  # type: ignore[misc]
    """Ends a request at its first token whose top-1 probability is below the request's threshold.

    A greedy request gets the end token in place of that token. A request that samples gets the sampled token, and the
    end token after it. Requests without a threshold are not changed.

    Args:
        vllm_config: The configuration of the engine.
        runner: What the runner passes: the device and `is_pin_memory` (V1), or the state of its requests (V2).
    """

    def __init__(self, vllm_config: Any, *runner: Any) -> None:
        self._requests: Any = _RowsV1(*runner) if len(runner) > 1 else _SlotsV2(vllm_config, *runner)

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Raise ValueError for malformed arguments. The server answers 400."""
        arguments = _arguments(sampling_params)
        if not arguments:
            return
        threshold: Any = arguments.get(THRESHOLD)
        skip: Any = arguments.get(SKIP, 0)
        if not _is_number(threshold) or not 0 < threshold <= 1:
            raise ValueError(f"{THRESHOLD} must be a number above 0 and at most 1, got {threshold!r}.")
        if not _is_number(skip) or not 0 <= skip < 2**31 or skip % 1:
            raise ValueError(f"{SKIP} must be an integer of at least 0, got {skip!r}.")
        if sampling_params.ignore_eos and not sampling_params.stop_token_ids:
            raise ValueError(f"{THRESHOLD} needs an end token: leave ignore_eos out, or send stop_token_ids.")

    def is_argmax_invariant(self) -> bool:
        """Return False: the end token replaces the top token."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the rows of the batch (V1)."""
        self._requests.update(batch_update)

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        """Take the arguments of a request that enters a slot (V2). Return True if it has a threshold."""
        return bool(self._requests.add(req_idx, sampling_params))

    def apply_staged_writes(self) -> None:
        """Copy the arguments of new requests to the device (V2)."""
        self._requests.flush()

    def apply(self, logits: torch.Tensor, ctx: Any = None) -> torch.Tensor:
        """Make the end token certain in the rows that end, in place. `ctx` is given by V2 only."""
        processed: torch.Tensor = self._requests.apply(logits, ctx)
        return processed


@dataclass(frozen=True, slots=True)
class _Stop:
    """When a request ends.

    Args:
        limit: The model is unsure where the top token's log-probability is below this.
        skip: The number of generated tokens at which the request does not end.
        end: The end token.
        greedy: True if the end token takes the place of the unsure token. Otherwise it comes after it.
    """

    limit: float
    skip: int
    end: int
    greedy: bool

    @classmethod
    def of(cls, params: SamplingParams) -> "_Stop | None":
        """Return the stop of a request, or None if it has no threshold or no end token."""
        arguments = _arguments(params)
        ends = [params.eos_token_id, *(params.stop_token_ids or [])]
        end = next((one for one in ends if one is not None), None)
        if THRESHOLD not in arguments or end is None:
            return None
        greedy = params.sampling_type == SamplingType.GREEDY
        return cls(_limit(arguments[THRESHOLD]), int(arguments.get(SKIP, 0)), end, greedy)


@dataclass(slots=True)
class _RequestV1:
    """A request of a V1 batch, with the tokens that it has generated so far.

    vLLM extends `output` itself. `unsure` is True on the device if the model was unsure when `output` was `at` long.
    """

    stop: _Stop
    output: Sequence[int]
    unsure: Any = None
    at: int = -2  # none

    @classmethod
    def of(cls, params: SamplingParams, _: Any, output: Sequence[int]) -> "_RequestV1 | None":
        stop = _Stop.of(params)
        return cls(stop, output) if stop else None


@dataclass(slots=True)
class _RowsV1:
    """The requests of a V1 batch that have a threshold, by row. Nothing waits for the device."""

    device: torch.device
    is_pin_memory: bool
    requests: dict[int, _RequestV1] = field(default_factory=dict)
    active: list[tuple[int, _RequestV1]] = field(default_factory=list)  # those whose skipped tokens are generated
    tensors: tuple[torch.Tensor, ...] = ()  # of the active ones: row, limit, end token, greedy

    def update(self, batch_update: BatchUpdate | None) -> None:
        process_dict_updates(self.requests, batch_update, _RequestV1.of)
        requests = sorted(self.requests.items())  # by row
        active = [(row, one) for row, one in requests if len(one.output) >= one.stop.skip]
        if batch_update is not None or len(active) != len(self.active):
            self.active = active
            stops = [one.stop for _, one in active]
            self.tensors = (
                self._tensor([row for row, _ in active], torch.long),
                self._tensor([stop.limit for stop in stops], torch.float32),
                self._tensor([stop.end for stop in stops], torch.long),
                self._tensor([stop.greedy for stop in stops], torch.bool),
            )

    def apply(self, logits: torch.Tensor, _: Any) -> torch.Tensor:
        if not self.active:
            return logits
        rows, limits, ends, greedy = self.tensors
        unsure = (
            _top(logits if len(self.active) == len(logits) else logits[rows]) < limits
        )  # no copy where none is needed
        stops = unsure
        sampled = [(place, one) for place, (_, one) in enumerate(self.active) if not one.stop.greedy]
        if sampled:
            never = torch.zeros_like(unsure[0])
            # a token of a prompt that is read in parts is discarded, and `output` does not grow
            before = {place: one.unsure for place, one in sampled if one.at == len(one.output) - 1}
            stops = torch.where(greedy, unsure, torch.stack([before.get(n, never) for n in range(len(self.active))]))
            for place, one in sampled:
                one.unsure, one.at = unsure[place], len(one.output)
        _end(logits, rows, stops, ends)
        return logits

    def _tensor(self, values: list[Any], dtype: torch.dtype) -> torch.Tensor:
        return _on_device(torch.tensor(values, dtype=dtype), self.device, self.is_pin_memory)


class _SlotsV2:
    """The requests of V2, by slot. A position of a sequence is that of the token before the predicted one."""

    def __init__(self, vllm_config: Any, requests: Any) -> None:
        size, self._device = requests.max_num_reqs, requests.device
        self._prompt_lengths: np.ndarray = requests.prompt_len.np
        self._has_threshold = np.zeros(size, dtype=bool)
        # limit, first position that may end, end token, greedy
        self._host = (
            torch.full((size,), NEVER),
            torch.zeros(size, dtype=torch.long),
            torch.zeros(size, dtype=torch.long),
            torch.ones(size, dtype=torch.bool),
        )
        self._tensors: tuple[torch.Tensor, ...] = ()
        self._is_stale = True
        speculative = vllm_config.speculative_config
        drafts = speculative.num_speculative_tokens if speculative else 0
        # [slots, last positions]: a position where the model was unsure. A step has at most drafts + 1 of a sequence.
        self._unsure_at = torch.full((size, drafts + 2), -1, dtype=torch.long, device=self._device)

    def add(self, slot: int, params: SamplingParams) -> bool:
        stop = _Stop.of(params)
        if stop or self._has_threshold[slot]:
            first = int(self._prompt_lengths[slot]) - 1 + stop.skip if stop else 0
            values = (stop.limit, first, stop.end, stop.greedy) if stop else (NEVER, 0, 0, True)
            for tensor, value in zip(self._host, values, strict=True):
                tensor[slot] = value
            self._is_stale = True
        self._has_threshold[slot] = stop is not None
        return stop is not None

    def flush(self) -> None:
        if self._is_stale:  # into new tensors: the last step may still read the old ones
            is_cuda = self._device.type == "cuda"
            self._tensors = tuple(_on_device(tensor.clone(), self._device, is_cuda) for tensor in self._host)
            self._is_stale = False

    def apply(self, logits: torch.Tensor, ctx: Any) -> torch.Tensor:
        if not self._has_threshold[ctx.idx_mapping_np].any():
            return logits
        slots, positions = ctx.expanded_idx_mapping.long(), ctx.pos.long()
        limits, first, ends, greedy = (tensor[slots] for tensor in self._tensors)
        unsure = (_top(logits) < limits) & (positions >= first)
        last = self._unsure_at.shape[1]
        self._unsure_at[slots, positions % last] = torch.where(unsure, positions, -1)
        before = positions - 1
        was_unsure = (self._unsure_at[slots, before % last] == before) & (before >= first)
        rows = torch.arange(len(slots), device=self._device)
        _end(logits, rows, torch.where(greedy, unsure, was_unsure), ends)
        return logits


def _arguments(params: SamplingParams) -> Mapping[str, Any]:
    """Return the arguments of a request that are for this processor."""
    return {name: value for name, value in (params.extra_args or {}).items() if name in (THRESHOLD, SKIP)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _limit(threshold: float) -> float:
    """Return the smallest log-probability in float32 whose probability is at least the threshold.

    A client that compares `exp(logprob)` with the threshold then comes to the same result.
    """
    limit = np.float32(math.log(threshold))
    if math.exp(limit) < threshold:
        limit = np.nextafter(limit, np.float32(math.inf))
    return float(limit)


def _top(logits: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of the top token of each row, computed as vLLM computes those that it reports."""
    return logits.log_softmax(dim=-1, dtype=torch.float32).amax(dim=-1)


def _end(logits: torch.Tensor, rows: torch.Tensor, stops: torch.Tensor, ends: torch.Tensor) -> None:
    """Make the end token certain in the rows that stop, in place.

    A row whose end token is masked (by a grammar, `min_tokens` or `allowed_token_ids`) does not stop.
    """
    end_logits = logits[rows, ends]
    logits[rows, ends] = torch.where(stops & (end_logits > -math.inf), CERTAIN, end_logits)


def _on_device(tensor: torch.Tensor, device: torch.device, is_pin_memory: bool) -> torch.Tensor:
    return (tensor.pin_memory() if is_pin_memory else tensor).to(device, non_blocking=True)
