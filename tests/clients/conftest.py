"""The servers under test. No client reaches another address."""

import os
from collections.abc import Iterator

import pytest
from openai import OpenAI
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


@pytest.fixture
def client(servers: Servers) -> OpenAI:
    return OpenAI(base_url=servers.scripted, api_key="none", max_retries=0)
