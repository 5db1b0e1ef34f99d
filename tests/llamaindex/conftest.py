"""A fixture that records the events of LlamaIndex's instrumentation dispatcher."""

from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """The events of a test, in order."""
    recorded: list[Any] = []

    class Recorder(BaseEventHandler):
        def handle(self, event: Any, **_: Any) -> None:
            recorded.append(event)

    recorder = Recorder()
    get_dispatcher().add_event_handler(recorder)
    yield recorded
    get_dispatcher().event_handlers.remove(recorder)
