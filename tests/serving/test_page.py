"""The chat page at `/`, in headless Chromium."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from nudging import Answer, Nudger, ScriptedModel, ServerError, Step
from playwright.sync_api import Page, expect, sync_playwright
from served import serving

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.enable_socket,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Return a function that starts a server and opens its page. A JavaScript error fails the test."""
    errors: list[str] = []
    with ExitStack() as running:

        def start(nudger: Nudger, **options: Any) -> Page:
            page = browser.new_page()
            running.callback(page.close)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(running.enter_context(serving(nudger, **options)))
            return page

        yield start
    assert errors == []


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.get_by_label("Your question").press("Enter")


def by_author(answer: Answer) -> list[tuple[str, str]]:
    runs = groupby(answer.pieces, key=lambda piece: piece.author)
    return [(author, "".join(piece.text for piece in run)) for author, run in runs]


def test_the_authors_are_shown_in_two_colours(open_page: Open, pair: tuple[Path, Path]) -> None:
    demo = Nudger(*pair, max_tokens=48)
    page = open_page(demo)
    question = "What are three tips for staying healthy?"
    ask(page, question)
    expect(page.locator(".usage")).to_contain_text("% nudged", timeout=60_000)
    runs = page.locator("li.assistant > span")
    shown = "".join(f"{run.get_attribute('class')}:{run.text_content()}\n" for run in runs.all())
    expected = "".join(f"{author}:{text}\n" for author, text in by_author(demo.generate(question)))
    assert shown == expected
    colours = {run.get_attribute("class"): run.evaluate("one => getComputedStyle(one).color") for run in runs.all()}
    assert len(set(colours.values())) == 2
    assert page.locator("li.user").all_text_contents() == [question]


def test_a_question_includes_the_conversation_so_far(open_page: Open) -> None:
    prompts: list[str] = []

    def script(prompt: str, text: str) -> Sequence[Step]:
        prompts.append(prompt)
        return [Step("Blue.", 0.9), Step("", 0.9, end=True)]

    page = open_page(Nudger(ScriptedModel(script), ScriptedModel(script)))
    ask(page, "Which colour?")
    expect(page.locator(".usage")).to_have_count(1)
    ask(page, "<b>Why?</b>")
    expect(page.locator(".usage")).to_have_count(2)
    assert "Blue." in prompts[-1]
    assert "Which colour?" in prompts[-1]
    assert page.locator("li.user").all_text_contents() == ["Which colour?", "<b>Why?</b>"]


def test_an_answer_can_be_stopped(open_page: Open) -> None:
    calls = 0

    def script(prompt: str, text: str) -> Sequence[Step]:
        nonlocal calls
        calls += 1
        time.sleep(0.02)
        return [Step(f" word{text.count(' ')}", 0.1)]

    page = open_page(Nudger(ScriptedModel(script), ScriptedModel(script), max_tokens=10_000))
    ask(page, "Count without end")
    expect(page.locator("li.assistant")).to_contain_text("word3")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("li.assistant .error")).to_contain_text("stopped")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    time.sleep(0.2)
    before = calls
    time.sleep(0.3)
    assert calls == before


def test_a_model_failure_and_a_missing_key_are_shown(open_page: Open) -> None:
    def script(prompt: str, text: str) -> Sequence[Step]:
        raise ServerError("the base server at http://x/v1: gone")

    page = open_page(Nudger(ScriptedModel(script), ScriptedModel(script)), api_key="sk-test")
    ask(page, "Hello?")
    expect(page.locator("li.assistant .error")).to_contain_text("key")
    page.get_by_text("API key", exact=True).click()
    page.get_by_role("textbox", name="API key").fill("sk-test")
    ask(page, "Hello?")
    expect(page.locator("li.assistant .error").nth(1)).to_contain_text("gone")
