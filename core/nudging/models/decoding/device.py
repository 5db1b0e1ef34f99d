"""A thread for each device. It runs the forward passes of all models on that device, one after the other.

Passes at the same time would only compete for the device's cores. Those of concurrent answers share a pass where the
engine can run several sequences at once.
"""

import atexit
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from threading import Condition, RLock, Thread
from typing import Any, Generic, Protocol, TypeVar

from nudging._logging import log
from nudging.errors import ModelError
from nudging.models.decoding.timing import PassTimer

MAX_TOKENS = 512
"""Maximum number of new tokens in a pass of several sequences."""

MAX_WAIT = 0.1
"""Maximum time that a pass waits for others that are likely to come, as a share of its own duration."""


class ForwardPass(Protocol):
    """A forward pass that one sequence waits for."""

    @property
    def scheduler(self) -> "Scheduler[Any]":
        """The scheduler of its model."""

    @property
    def tokens(self) -> list[int]:
        """The new tokens."""

    @property
    def keep(self) -> int:
        """The number of positions at the end whose logits are needed."""


P = TypeVar("P", bound=ForwardPass)


class Scheduler(ABC, Generic[P]):
    """Runs the forward passes of one model, several sequences at once where that works.

    Args:
        timer: Records the time of every pass.
        max_kept: Maximum number of positions in a pass of several sequences whose logits are needed.
    """

    def __init__(self, timer: PassTimer, max_kept: int = MAX_TOKENS) -> None:
        self.timer, self.max_kept = timer, max_kept
        self.can_batch = True
        self.last_batch = 1  # number of sequences in the last pass: as many are expected in the next one

    @abstractmethod
    def run_batch(self, passes: Sequence[P]) -> None:
        """Run these passes, as one if possible. Each gets its result, or its error."""

    @abstractmethod
    def use_one_core(self) -> None:
        """Let passes use one core only: OpenMP's threads are missing in a forked child, and it would wait for them."""

    def fits(self, batch: Sequence[P], one: P) -> bool:
        """Return True if a pass can join this batch."""
        if not batch:
            return True
        several = [*batch, one]
        return (
            self.can_batch
            and sum(len(other.tokens) for other in several) <= MAX_TOKENS
            and sum(other.keep for other in several) <= self.max_kept
        )


class DeviceThread:
    """A thread that runs the passes of all models on one device.

    A forked child has only the thread that forked. So it starts a device thread of its own, and its passes use one
    core: OpenMP's threads are missing too.

    Args:
        name: The name of the device; "cpu" for the processor.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.forked = False
        self.schedulers: weakref.WeakSet[Scheduler[Any]] = weakref.WeakSet()
        self._running = RLock()
        self._waiting: list[Any] = []
        self._changed = Condition()
        self._thread: Thread | None = None
        weakref.finalize(self, int)  # so that the exit handler of weakref, which frees models, is there and runs later
        # The interpreter aborts if it exits during a pass (after Ctrl-C, for example). Taking the lock at exit lets the
        # pass end and starts no other. A fork during a pass would copy the engine's locks in a locked state.
        atexit.register(self._running.acquire)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._running.acquire, after_in_parent=self._running.release, after_in_child=self._reset_in_child
            )

    def put(self, forward_pass: ForwardPass) -> None:
        """Queue a pass.

        Raises:
            ModelError: This process was forked from one that had loaded the model on an accelerator.
        """
        with self._changed:
            if self._thread is None:
                self._thread = self._start()
            self._waiting.append(forward_pass)
            self._changed.notify()

    def between_passes(self) -> RLock:
        """Return a lock that is held while a pass runs."""
        return self._running

    def _reset_in_child(self) -> None:
        self._running.release()
        self._waiting, self._changed, self._thread, self.forked = [], Condition(), None, True
        for scheduler in self.schedulers:
            scheduler.use_one_core()

    def _start(self) -> Thread:
        if self.forked and self._name != "cpu":
            raise ModelError(
                f"a model on {self._name} cannot be used in a process that was forked after it was loaded: load it in "
                "the child only, or start the child with the method 'spawn' or 'forkserver'"
            )
        if self.forked:
            log.warning(
                "this process was forked after a model was loaded, so its forward passes use one core: for more, start "
                "it with the method 'spawn' or 'forkserver'"
            )
        thread = Thread(target=self._work, name=f"nudging on {self._name}", daemon=True)
        thread.start()
        return thread

    def _work(self) -> None:
        while True:
            batch = self._next_batch()
            with self._running:
                batch[0].scheduler.run_batch(batch)
            del batch  # it refers to a model and to logits, which should not live until the next pass

    def _next_batch(self) -> list[Any]:
        """Return the pass that has waited longest, and those that can share a pass with it."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
            scheduler = self._waiting[0].scheduler
            if scheduler.last_batch > 1:  # the same sequences probably want their next token in a moment
                self._changed.wait_for(
                    lambda: sum(one.scheduler is scheduler for one in self._waiting) >= scheduler.last_batch,
                    timeout=MAX_WAIT * scheduler.timer.cost(1),
                )
            batch: list[Any] = []
            for one in self._waiting:
                if one.scheduler is scheduler and scheduler.fits(batch, one):
                    batch.append(one)
            self._waiting = [one for one in self._waiting if one not in batch]
            scheduler.last_batch = len(batch)
            return batch


@cache
def device_thread(name: str) -> DeviceThread:
    """Return the thread of a device."""
    return DeviceThread(name)
