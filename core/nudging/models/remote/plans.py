"""Which requests a session makes for its steps: state machines without I/O, which `session.py` runs.

A plan is a generator. It yields `Open` or `Next`, and is sent the step that it brings, or None after the last one. The
steps of the session are those that it yields.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

from nudging.step import Step


@dataclass(frozen=True, slots=True)
class Open:
    """Start a completion after the answer `text`, for at most `limit` tokens.

    See `Completion` for `first`, `stop_below` and `skip`.
    """

    text: str
    limit: int
    first: str | None = None
    stop_below: float = 0.0
    skip: int = 0


@dataclass(frozen=True, slots=True)
class Next:
    """Take the next step of the completion that was opened last."""


Plan: TypeAlias = Generator[Open | Next | Step, Any, None]


def free_steps(text: str, limit: int, stop_below: float = 0.0) -> Plan:
    """Plan the steps after a text.

    Args:
        text: The answer so far.
        limit: The maximum number of steps.
        stop_below: The caller will probably need no step after one whose probability is below this. The server may
            stop there. If the caller asks for more, the same request with a later stop brings the same steps and more.
    """
    known = 0
    while known < limit:
        step: Step | None = yield Open(text, limit, stop_below=stop_below, skip=known)
        before, count = known, 0
        while step is not None:
            count += 1
            if count > known:
                known = count
                yield step
                if step.end:
                    return
            step = yield Next()
        if not stop_below:
            return
        if known == before:  # it stops at a token that it cannot show
            stop_below = 0.0
