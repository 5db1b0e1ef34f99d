"""The browser of the tests of the chat page."""

from collections.abc import Iterator

import pytest
from chat_page import Open, chromium, page_opener
from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    with page_opener(browser) as start:
        yield start
