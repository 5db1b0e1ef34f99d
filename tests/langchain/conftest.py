"""What the standard suite asks of the models rather than of the code."""

import pytest

JUDGEMENT = "test_agent_loop"
"""The model is to see by itself that a tool is wanted: the demo pair's nudging model was not trained to."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    judged = [item for item in items if "TestDemoPair" in item.nodeid and item.name.startswith(JUDGEMENT)]
    config.hook.pytest_deselected(items=judged)
    items[:] = [item for item in items if item not in judged]
