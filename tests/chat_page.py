"""Tools for the tests of the chat page: Chromium, and stand-ins for the server's replies."""

import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from nudging import Nudger, ScriptedModel
from playwright.sync_api import Browser, Page, Route, sync_playwright
from served import serving

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

Open = Callable[..., Page]

SETTINGS = {"rule": "words", "threshold": 0.4, "bet": 0.2, "end": 0.5, "max_tokens": 256, "temperature": 0.0}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium, and close it at the end."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def page_opener(browser: Browser) -> Iterator[Open]:
    """Yield a function that starts a server and opens its page. Errors of JavaScript and of the CSP fail the test.

    The function takes a nudger, the options of a browser context as `context`, a JavaScript that runs before the page
    as `init`, `routes` (a function that stands in for some replies), and the options of the server.
    """
    errors: list[str] = []
    with ExitStack() as running:

        def start(
            nudger: Nudger,
            *,
            context: dict[str, Any] | None = None,
            init: str | None = None,
            routes: Callable[[Page], object] | None = None,
            **options: Any,
        ) -> Page:
            page = browser.new_context(**context or {}).new_page()
            running.callback(page.context.close)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda one: errors.append(one.text) if "Content Security" in one.text else None)
            if init:
                page.context.add_init_script(init)
            if routes:
                routes(page)
            page.goto(running.enter_context(serving(nudger, **options)))
            return page

        yield start
    assert errors == []


def says(text: str) -> Nudger:
    """Return a nudger that always answers this text."""
    return Nudger(ScriptedModel(text), ScriptedModel(text), max_tokens=10_000)


def ask(page: Page, question: str) -> None:
    """Ask a question with the keyboard."""
    page.get_by_label("Your question").fill(question)
    page.get_by_label("Your question").press("Enter")


def stand_in(*replies: Sequence[dict[str, Any]] | Callable[[dict[str, Any]], Sequence[dict[str, Any]]]) -> Any:
    """Return `routes` of a server whose answers have these chunks, one reply for each request, the last one again.

    A reply may be a function of the request's body. The bodies are appended to the list `bodies` of the routes.
    """
    left = list(replies)

    def answer(route: Route) -> None:
        body = json.loads(route.request.post_data or "{}")
        routes.bodies.append(body)
        reply = left.pop(0) if len(left) > 1 else left[0]
        events = ": keep-alive\n\n" + "".join(
            f"data: {json.dumps(one)}\n\n" for one in (reply(body) if callable(reply) else reply)
        )
        route.fulfill(content_type="text/event-stream", body=events + "data: [DONE]\n\n")

    def routes(page: Page) -> None:
        page.route("**/v1/chat/completions", answer)
        page.route("**/v1/models", lambda route: route.fulfill(json={"data": [routes.model]}))

    routes.bodies = []
    names = {"base_model": "org/base-7b", "nudging_model": "<img src=x onerror=alert(1)>"}
    routes.model = {"id": "nudged", "nudging": {**names, "settings": SETTINGS}}
    return routes


def chunks(*pieces: tuple[str, str] | tuple[str, str, float], finish: str = "stop") -> list[dict[str, Any]]:
    """Return the chunks of an answer of (author, text) or (author, text, base model's probability)."""
    result: list[dict[str, Any]] = []
    for author, text, *probability in pieces:
        choice: dict[str, Any] = {"index": 0, "nudging": {"text": text, "author": author}, "finish_reason": None}
        if probability:
            choice["logprobs"] = {"content": [{"token": text, "logprob": math.log(probability[0])}]}
        result.append({"choices": [choice]})
    result.append({"choices": [{"index": 0, "finish_reason": finish}]})
    return [*result, {"choices": [], "usage": {"completion_tokens": len(pieces)}}]
