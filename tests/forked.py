"""Run a function in a forked child."""

import multiprocessing
from collections.abc import Callable


def in_forked_child(function: Callable[[], object]) -> object:
    """Return the function's result in a forked child, or what it raises."""
    receiving, sending = multiprocessing.Pipe(duplex=False)

    def run() -> None:
        try:
            sending.send(function())
        except Exception as error:
            sending.send(error)

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    try:
        assert receiving.poll(60), "the child hangs"
        return receiving.recv()
    finally:
        child.kill()
        child.join()
