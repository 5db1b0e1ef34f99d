"""llama.cpp's C interface, through llama-cpp-python, with its log sent to Python's.

llama-cpp-python is the binding that LangChain's and LlamaIndex's own llama.cpp classes use. It gives the whole C
interface by ctypes, which releases the GIL during a call.
"""

import ctypes
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import llama_cpp as llama

__all__ = ["llama", "logged_errors"]

_log = logging.getLogger("nudging.llamacpp")
_errors: deque[str] = deque(maxlen=20)

_ERROR, _CONTINUED = 4, 5
_last_level = 0


@llama.llama_log_callback  # type: ignore[untyped-decorator]
def _log_callback(level: int, text: bytes, _: ctypes.c_void_p) -> None:
    global _last_level
    level = _last_level if level == _CONTINUED else level
    _last_level = level
    message = text.decode(errors="replace").strip()
    if message.strip("."):
        if level == _ERROR:
            _errors.append(message)
        _log.debug(message)


@contextmanager
def logged_errors() -> Iterator[deque[str]]:
    """Give the errors that llama.cpp logs inside the block."""
    _errors.clear()
    yield _errors


llama.llama_log_set(_log_callback, ctypes.c_void_p(0))
