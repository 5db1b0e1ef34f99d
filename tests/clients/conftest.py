"""The servers under test. No client reaches another address."""

import os
from collections.abc import Iterator

import pytest
from servers import Servers, started

os.environ |= {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "OPENAI_API_KEY": "none",
}


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with started() as running:
        yield running
