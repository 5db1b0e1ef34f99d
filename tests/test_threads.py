"""Tests of the threads for event loops."""

import asyncio
import multiprocessing
from threading import current_thread

from nudging._threads import in_thread


async def thread_name() -> str:
    return (await in_thread(current_thread)).name


def test_work_runs_in_a_thread_of_its_own() -> None:
    assert asyncio.run(thread_name()).startswith("nudging")


def test_a_forked_child_has_threads_of_its_own() -> None:
    asyncio.run(thread_name())
    child = multiprocessing.get_context("fork").Process(target=lambda: asyncio.run(thread_name()))
    child.start()
    child.join(30)
    code = child.exitcode
    child.kill()
    assert code == 0
