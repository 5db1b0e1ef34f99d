"""Run blocking work in threads, for event loops."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import cache, partial
from typing import Any, TypeVar

T = TypeVar("T")


@cache
def _pool() -> ThreadPoolExecutor:
    # asyncio's own pool has a few threads per core. These mostly wait for forward passes and servers: more are useful.
    return ThreadPoolExecutor(64, thread_name_prefix="nudging")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # its threads do not exist in a forked child


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Return the function's result, computed in a thread.

    If the caller is cancelled, the cancellation waits until the thread is done: nothing else may touch a KV cache
    during a forward pass.
    """
    work = asyncio.get_running_loop().run_in_executor(_pool(), partial(copy_context().run, function, *args))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with suppress(asyncio.CancelledError):  # raised below
                await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # retrieve it, or asyncio logs "exception was never retrieved"
        raise
