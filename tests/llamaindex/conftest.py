"""What the instrumentation dispatcher sends out."""

from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """Every event of this test, in order."""
    seen: list[Any] = []

    class Recorder(BaseEventHandler):
        def handle(self, event: Any, **_: Any) -> None:
            seen.append(event)

    recorder = Recorder()
    get_dispatcher().add_event_handler(recorder)
    yield seen
    get_dispatcher().event_handlers.remove(recorder)
