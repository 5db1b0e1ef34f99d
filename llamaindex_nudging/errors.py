"""The error that this package raises, and the translation of others into it.

LlamaIndex takes a ValueError or a TypeError for a malformed answer in some places: its default query engine logs it and
answers "Empty Response". So none of them leaves this package.
"""

from collections.abc import Generator
from contextlib import contextmanager

from nudging import NudgingError


class NudgingLLMError(NudgingError):
    """An error of a call. It is no ValueError. Its `__cause__` is the error of the engine, such as a `PromptError`."""


@contextmanager
def translated_errors() -> Generator[None, None, None]:
    """Translate every ValueError and TypeError into a `NudgingLLMError` with the same message."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise NudgingLLMError(str(error)) from error
