"""llama.cpp's context: the memory of all sequences of one model, and the forward passes over them."""

import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from ctypes import c_float, c_uint8
from dataclasses import dataclass, field
from threading import RLock
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nudging.errors import ModelError
from nudging.models.decoding.device import MAX_TOKENS, Scheduler, device_thread
from nudging.models.decoding.timing import PassTimer
from nudging.models.llamacpp.library import llama, logged_errors
from nudging.models.llamacpp.weights import Weights

T = TypeVar("T")

CELLS = 2048
"""Number of tokens for which a new context has memory. It grows when more are needed.

At least `MAX_TOKENS`: llama.cpp takes no batch that is longer than its context.
"""

ROWS = 64
"""Maximum number of positions of a pass whose logits are needed: llama.cpp reserves memory for all of them."""

MAX_SEQUENCES = 256
"""llama.cpp's limit."""

_NO_ROOM = 1
"""The code of `llama_decode` for a memory without room for the new tokens."""


@dataclass(eq=False)
class MemorySequence:
    """One sequence in llama.cpp's memory.

    Changes of it wait for its next pass, because memory must not change while a pass of another sequence runs.

    Args:
        number: llama.cpp's number of the sequence, None before its first pass.
        held: The number of tokens in memory.
        valid: The number of them that are still wanted.
        state: A snapshot that replaces what is in memory before the next pass.
    """

    number: int | None = None
    held: int = 0
    valid: int = 0
    state: bytes | None = None


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """A forward pass that one sequence waits for.

    Args:
        scheduler: The context.
        sequence: The sequence.
        earlier: The tokens before the new ones.
        tokens: The new tokens.
        keep: The number of positions at the end whose logits are needed.
        read: Called with the logits, shape [keep, vocab], which are valid only during the call.
        result: What `read` returns.
    """

    scheduler: "Context"
    sequence: MemorySequence
    earlier: list[int]
    tokens: list[int]
    keep: int
    read: Callable[[NDArray[np.float32]], Any]
    result: "Future[Any]" = field(default_factory=Future)


class Context(Scheduler[ForwardPass]):
    """The memory of all sequences of one model, and the forward passes over them.

    Memory is shared by all sequences. It starts small and grows, so a long context costs memory only when it is used.

    Args:
        weights: The model.
        n_threads: Number of threads of a pass.
        timer: Records the time of every pass.
        drop_idle: Drops a KV cache that no session uses. Returns False if there is none.
    """

    def __init__(self, weights: Weights, n_threads: int, timer: PassTimer, drop_idle: Callable[[], bool]) -> None:
        super().__init__(timer, max_kept=ROWS)
        self._weights, self._n_threads, self._drop_idle = weights, n_threads, drop_idle
        self.can_crop = weights.can_crop
        self._device = device_thread("gpu" if llama.llama_supports_gpu_offload() else "cpu")
        self._device.schedulers.add(self)
        self._live: weakref.WeakSet[MemorySequence] = weakref.WeakSet()
        self._registering = RLock()
        self._released: list[int] = []  # numbers of sequences that nobody uses, whose tokens are still in memory
        self._cells = CELLS
        self._batch: Any = llama.llama_batch_init(MAX_TOKENS, 0, 1)
        weakref.finalize(self, llama.llama_batch_free, self._batch)
        self._open(sequences=32 if weights.can_crop else 4)

    def new_sequence(self) -> MemorySequence:
        """Return a sequence that holds nothing. It takes no memory before its first pass."""
        sequence = MemorySequence()
        with self._registering:
            self._live.add(sequence)
        return sequence

    def release(self, sequence: MemorySequence) -> None:
        """Give a sequence's memory back."""
        if sequence.number is not None:  # without a lock: the garbage collector may call this anywhere
            self._released.append(sequence.number)

    def run(
        self,
        sequence: MemorySequence,
        earlier: list[int],
        tokens: list[int],
        keep: int,
        read: Callable[[NDArray[np.float32]], T],
    ) -> T:
        """Return what `read` makes of the logits after each of the last `keep` of the new tokens.

        Raises:
            ModelError: llama.cpp fails. What the sequence holds then is not known.
        """
        forward_pass = ForwardPass(self, sequence, list(earlier), tokens, keep, read)
        self._device.put(forward_pass)
        try:
            result: T = forward_pass.result.result()
        except BaseException:
            forward_pass.result.cancel()  # after Ctrl-C: nobody waits for it any more
            raise
        return result

    def run_batch(self, passes: Sequence[ForwardPass]) -> None:
        if passes := [one for one in passes if one.result.set_running_or_notify_cancel()]:
            self._run(passes)

    def _run(self, passes: Sequence[ForwardPass]) -> None:
        try:
            logits = self._decode(passes)
        except Exception as error:  # for the callers, not for the device's thread
            for one in passes:
                one.sequence.valid, one.sequence.state = 0, None
                one.sequence.held += 1  # more may be in memory than is known: all of it is removed before the next pass
            if len(passes) == 1:
                passes[0].result.set_exception(error)
            else:
                for one in passes:
                    self._run([one])
            return
        start = 0
        for one in passes:
            try:
                one.result.set_result(one.read(logits[start : start + one.keep]))
            except Exception as error:  # as above
                one.result.set_exception(error)
            start += one.keep

    def copy(self, source: MemorySequence, target: MemorySequence, length: int) -> bool:
        """Let an empty sequence hold the first `length` tokens of another one.

        Returns:
            False if the other one does not hold them. The copy stays empty then.
        """
        with self._device.between_passes():
            if source.state is not None or source.valid < length or not source.held:
                return False
            self._give_number(target)
            llama.llama_memory_seq_cp(self._memory, source.number, target.number, 0, length if self.can_crop else -1)
            target.held = target.valid = length
            return True

    def snapshot(self, sequence: MemorySequence) -> bytes:
        """Return the state of a sequence's recurrent layers."""
        with self._device.between_passes():
            return self._state(sequence, llama.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY)

    def _open(self, sequences: int) -> None:
        """Create llama.cpp's context."""
        params = llama.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = self._cells, MAX_TOKENS, MAX_TOKENS
        params.n_seq_max, params.kv_unified = sequences, True
        params.n_outputs_max = ROWS
        params.n_threads = params.n_threads_batch = 1 if self._device.forked else self._n_threads
        params.no_perf = True
        with logged_errors() as errors:
            pointer = llama.llama_init_from_model(self._weights.pointer, params)
            if not pointer:
                raise ModelError(
                    f"llama.cpp has no memory for {self._cells} tokens ({'; '.join(errors) or 'no reason given'}): set "
                    "a smaller n_ctx, or answer less at the same time (at_once)"
                )
        self._pointer: Any = pointer
        self._free = weakref.finalize(self, _free_context, pointer, self._weights)
        self._memory: Any = llama.llama_get_memory(pointer)
        self._unused = list(range(sequences))
        self._sequences = sequences
        if adapters := self._weights.adapters:
            pointers = (llama.llama_adapter_lora_p_ctypes * len(adapters))(*(adapter for adapter, _ in adapters))
            scales = (c_float * len(adapters))(*(scale for _, scale in adapters))
            llama.llama_set_adapters_lora(pointer, pointers, len(adapters), scales)

    def _decode(self, passes: Sequence[ForwardPass]) -> NDArray[np.float32]:
        """Run the passes as one. Return the logits of all of them, shape [sum of keep, vocab]."""
        starts = [self._prepare(one.sequence, len(one.earlier)) for one in passes]
        entries = [
            (token, position, one.sequence, position >= len(one.earlier) + len(one.tokens) - one.keep)
            for one, start in zip(passes, starts, strict=True)
            for position, token in enumerate(one.earlier[start:] + one.tokens, start)
        ]
        if len(entries) > MAX_TOKENS and len(passes) > 1:
            raise ModelError("sequences that have to be fed again do not fit into one pass")  # they run one by one
        started, fed, kept = perf_counter(), len(entries), sum(one.keep for one in passes)
        while len(entries) > MAX_TOKENS:  # one long sequence: all positions that are kept go into the last part
            part = min(MAX_TOKENS, len(entries) - kept)
            self._feed(entries[:part])
            entries = entries[part:]
        self._feed(entries)
        rows = np.ctypeslib.as_array(llama.llama_get_logits(self._pointer), (kept, self._weights.vocabulary.size))
        self.timer.record(fed, perf_counter() - started, len(passes))
        return rows

    def _feed(self, entries: Sequence[tuple[int, int, MemorySequence, bool]]) -> None:
        batch = self._batch
        for index, (token, position, sequence, is_kept) in enumerate(entries):
            batch.token[index], batch.pos[index], batch.logits[index] = token, position, is_kept
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, sequence.number
        batch.n_tokens = len(entries)
        with logged_errors() as errors:
            while code := llama.llama_decode(self._pointer, batch):
                if code != _NO_ROOM:
                    raise ModelError(f"llama.cpp fails with code {code}: {'; '.join(errors) or 'no reason given'}")
                self._make_room(len(entries))
        llama.llama_synchronize(self._pointer)
        for _, position, sequence, _ in entries:
            sequence.held = sequence.valid = position + 1

    def _prepare(self, sequence: MemorySequence, length: int) -> int:
        """Bring memory to what is wanted of a sequence. Return the number of tokens that it holds, at most `length`."""
        self._give_number(sequence)
        if sequence.state is not None:
            self._load(sequence, sequence.state, llama.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY)
            sequence.state, sequence.held = None, sequence.held + 1  # whatever is beyond it is removed below
        wanted = min(sequence.valid, length)
        if sequence.held > wanted and not llama.llama_memory_seq_rm(self._memory, sequence.number, wanted, -1):
            llama.llama_memory_seq_rm(self._memory, sequence.number, -1, -1)
            wanted = 0  # the tokens are fed again
        sequence.held = sequence.valid = wanted
        return wanted

    def _give_number(self, sequence: MemorySequence) -> None:
        if sequence.number is not None:
            return
        self._clear_released()
        while not self._unused:
            if self._drop_idle():
                self._clear_released()
            elif self._sequences < MAX_SEQUENCES:
                self._reopen(self._cells, 2 * self._sequences)
            else:
                raise ModelError(f"more than {MAX_SEQUENCES} answers at the same time: lower at_once")
        sequence.number = self._unused.pop(0)
        llama.llama_memory_seq_rm(self._memory, sequence.number, -1, -1)  # an abandoned pass may have left something

    def _clear_released(self) -> None:
        """Take the numbers and the memory of sequences back that nobody uses."""
        while self._released:
            number = self._released.pop()
            llama.llama_memory_seq_rm(self._memory, number, -1, -1)
            self._unused.append(number)

    def _make_room(self, tokens: int) -> None:
        """Drop what nobody uses, or else move to a context with more memory."""
        if self._released:
            self._clear_released()
            return
        if self._drop_idle():
            self._clear_released()
            return
        with self._registering:
            needed = sum(sequence.held for sequence in self._live) + tokens
        if self._cells > 4 * needed:
            raise ModelError(f"llama.cpp finds no place for {tokens} tokens in a memory of {self._cells}")
        self._reopen(max(2 * self._cells, needed), self._sequences)

    def _reopen(self, cells: int, sequences: int) -> None:
        """Move all sequences to a new context. They keep their numbers: any of them may be released meanwhile."""
        self._clear_released()
        with self._registering:
            live = [sequence for sequence in self._live if sequence.number is not None]
        states = [self._state(sequence, 0) if sequence.held else None for sequence in live]
        unused = [*self._unused, *range(self._sequences, sequences)]
        old, before = self._free, self._cells
        self._cells = -(-cells // 256) * 256
        try:
            self._open(sequences)
        except ModelError:
            self._cells = before
            raise
        old()
        self._unused = unused
        for sequence, state in zip(live, states, strict=True):
            if state is not None:
                self._load(sequence, state, 0)

    def _state(self, sequence: MemorySequence, flags: int) -> bytes:
        size = llama.llama_state_seq_get_size_ext(self._pointer, sequence.number, flags)
        buffer = (c_uint8 * size)()
        llama.llama_state_seq_get_data_ext(self._pointer, buffer, size, sequence.number, flags)
        return bytes(buffer)

    def _load(self, sequence: MemorySequence, state: bytes, flags: int) -> None:
        buffer = (c_uint8 * len(state)).from_buffer_copy(state)
        if not llama.llama_state_seq_set_data_ext(self._pointer, buffer, len(state), sequence.number, flags):
            sequence.held = sequence.valid = 0

    def use_one_core(self) -> None:
        llama.llama_set_n_threads(self._pointer, 1, 1)


def _free_context(pointer: Any, weights: Weights) -> None:
    """Free a context. The argument keeps its model loaded until then: the garbage collector keeps no order."""
    llama.llama_free(pointer)
