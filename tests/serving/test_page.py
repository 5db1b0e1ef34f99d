"""The chat page at `/`, in headless Chromium. How it renders answers is in test_page_markdown.py."""

import json
import re
import time
from collections.abc import Sequence
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from threading import Event
from typing import Any

import nudging
import pytest
from chat_page import CHROMIUM, Open, ask, chunks, says, stand_in
from nudging import Answer, Nudger, ScriptedModel, ServerError, Step
from playwright.sync_api import Page, expect

pytestmark = [
    pytest.mark.enable_socket,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]

PAGE = Path(nudging.__file__).parent / "serving" / "page"

AXE = files("axe_playwright_python") / "axe.min.js"
"""axe-core's script."""


def endless(prompt: str, text: str) -> Sequence[Step]:
    """Write words, until somebody stops it."""
    time.sleep(0.02)
    return [Step(f" word{text.count(' ')}", 0.1)]


def never_ends() -> Nudger:
    return Nudger(ScriptedModel(endless), ScriptedModel(endless), max_tokens=10_000)


def answered(page: Page, count: int) -> None:
    """Wait until this number of answers have ended."""
    expect(page.locator(".meta:not(:empty), .error:not(:empty)")).to_have_count(count)
    expect(page.locator("[aria-busy]")).to_have_count(0)


def until(page: Page, expression: str) -> None:
    """Wait until a JavaScript expression is true. `page.wait_for_function` needs `eval`, which the page forbids."""
    end = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


def focused(page: Page) -> str:
    """Return the name of the focused control."""
    name = "one.getAttribute('aria-label') ?? one.labels?.[0]?.textContent ?? one.textContent"
    return page.evaluate(f"(one => {name})(document.activeElement)").strip()


def letters(runs: Any) -> list[tuple[str, str]]:
    return [(author, one) for author, text in runs for one in text if not one.isspace()]


def by_author(answer: Answer) -> list[tuple[str, str]]:
    runs = groupby(answer.pieces, key=lambda piece: piece.author)
    return [(author, "".join(piece.text for piece in run)) for author, run in runs]


def test_the_authors_are_shown_in_two_colours(open_page: Open, pair: tuple[Path, Path]) -> None:
    demo = Nudger(*pair, max_tokens=48)
    page = open_page(demo)
    question = "What are three tips for staying healthy?"
    ask(page, question)
    expect(page.locator(".meta")).to_contain_text("% nudged", timeout=120_000)
    expect(page.locator(".meta")).to_contain_text("48 tokens")
    expect(page.locator(".meta")).to_contain_text("cut at max_tokens")
    parts = page.locator(".text span")
    shown = letters(parts.evaluate_all("all => all.map(one => [one.classList[0], one.textContent])"))
    answer = demo.generate(question)
    rest = iter(letters(by_author(answer)))
    assert all(one in rest for one in shown)  # in this order, and all but the marks of markdown
    assert len(shown) > 0.9 * len(letters(by_author(answer)))
    look = "[one.classList[0], getComputedStyle(one).textDecorationLine, getComputedStyle(one).color]"
    texts = page.locator(".text span:not(.blank), #legend :is(.base, .nudging)")
    looks = sorted({tuple(one) for one in texts.evaluate_all(f"all => all.map(one => {look})")})
    assert [one[:2] for one in looks] == [("base", "none"), ("nudging", "underline")]
    assert looks[0][2] != looks[1][2]
    assert page.locator(".question p").all_text_contents() == [question]


def test_a_question_includes_the_conversation_so_far(open_page: Open) -> None:
    prompts: list[str] = []

    def script(prompt: str, text: str) -> Sequence[Step]:
        prompts.append(prompt)
        return [Step("", 0.9, end=True)] if text else [Step("*Blue*.", 0.9)]

    page = open_page(Nudger(ScriptedModel(script), ScriptedModel(script)))
    ask(page, "Which colour?")
    answered(page, 1)
    ask(page, "<b>Why?</b>")
    answered(page, 2)
    assert "*Blue*." in prompts[-1]
    assert "Which colour?" in prompts[-1]
    assert page.locator(".question p").all_text_contents() == ["Which colour?", "<b>Why?</b>"]


def test_an_answer_can_be_stopped(open_page: Open) -> None:
    calls = 0

    def script(prompt: str, text: str) -> Sequence[Step]:
        nonlocal calls
        calls += 1
        return endless(prompt, text)

    page = open_page(Nudger(ScriptedModel(script), ScriptedModel(script), max_tokens=10_000))
    ask(page, "Count without end")
    expect(page.locator(".text")).to_contain_text("word3")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".meta")).to_contain_text("stopped by you")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    assert focused(page) == "Your question"
    time.sleep(0.2)
    before = calls
    time.sleep(0.3)
    assert calls == before
    ask(page, "Once more")
    expect(page.locator(".text").nth(1)).to_contain_text("word3")
    page.keyboard.press("Escape")
    expect(page.locator(".meta").nth(1)).to_contain_text("stopped by you")
    ask(page, "And again")
    expect(page.locator(".text").nth(2)).to_contain_text("word3")
    page.get_by_role("button", name="Delete").click()
    page.wait_for_timeout(300)
    expect(page.locator("#list li")).to_have_count(0)
    assert page.evaluate("Object.keys(localStorage).filter(key => key.includes('conversation'))") == []


def test_a_model_failure_and_a_missing_key_are_shown(open_page: Open) -> None:
    def script(prompt: str, text: str) -> Sequence[Step]:
        raise ServerError("the base server at http://x/v1: gone")

    page = open_page(Nudger(ScriptedModel(script), ScriptedModel(script)), api_key="sk-test")
    ask(page, "Hello?")
    expect(page.locator(".error")).to_contain_text("key")
    page.get_by_label("API key").fill("sk-test")
    ask(page, "Hello?")
    expect(page.locator(".error").nth(1)).to_contain_text("gone")
    page.get_by_role("button", name="Retry").last.click()
    expect(page.locator("[aria-busy]")).to_have_count(0)
    expect(page.locator(".error").nth(1)).to_contain_text("gone")
    assert "sk-test" not in json.dumps(page.evaluate("() => ({ ...localStorage })"))
    page.reload()
    assert page.locator("#key").input_value() == "sk-test"
    expect(page.locator(".error").nth(1)).to_contain_text("gone")


def test_a_server_that_is_gone_or_sends_no_json_is_explained(open_page: Open) -> None:
    page = open_page(says("x"))
    page.route("**/v1/chat/completions", lambda route: route.abort())
    ask(page, "Hello?")
    expect(page.locator(".error")).to_contain_text("cannot be reached")
    page.route("**/v1/chat/completions", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    ask(page, "Hello?")
    expect(page.locator(".error").nth(1)).to_contain_text("502")
    page.route("**/v1/chat/completions", lambda route: route.fulfill(body='data: {"choices": []}\n\n'))
    ask(page, "Hello?")
    expect(page.locator(".error").nth(2)).to_contain_text("ended before the answer")


def test_conversations_are_kept_renamed_and_deleted(open_page: Open) -> None:
    page = open_page(says("An answer."))
    titles = page.locator("#list .open")
    ask(page, "First question?")
    answered(page, 1)
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator("article")).to_have_count(0)
    assert focused(page) == "Your question"
    ask(page, "Second question?")
    answered(page, 1)
    page.reload()
    expect(page.locator(".question p")).to_have_text("Second question?")
    expect(page.locator(".text")).to_have_text("An answer.")
    expect(titles).to_have_text(["Second question?", "First question?"])
    expect(page).to_have_title("Second question? · nudging")

    page.get_by_role("button", name="Rename First question?").click()
    page.get_by_role("textbox", name="Title").fill("A better <b>title</b>")
    page.get_by_role("textbox", name="Title").press("Enter")
    expect(titles).to_have_text(["Second question?", "A better <b>title</b>"])
    assert focused(page) == "A better <b>title</b>"
    page.get_by_role("button", name="Rename Second question?").click()
    page.get_by_role("textbox", name="Title").fill("Never mind")
    page.get_by_role("textbox", name="Title").press("Escape")
    titles.nth(1).click()
    expect(page.locator(".question p")).to_have_text("First question?")

    page.get_by_role("button", name="Delete A better <b>title</b>").click()
    expect(titles).to_have_text(["Second question?"])
    expect(page.locator("article")).to_have_count(0)
    assert focused(page) == "Second question?"
    page.get_by_role("button", name="Undo").click()
    expect(titles).to_have_text(["Second question?", "A better <b>title</b>"])
    expect(page.locator(".question p")).to_have_text("First question?")
    for _ in range(2):
        page.get_by_role("button", name="Delete").first.click()
    assert focused(page) == "New conversation"
    page.reload()
    expect(page.locator("#list li")).to_have_count(0)


def test_questions_are_edited_and_answers_retried(open_page: Open) -> None:
    routes = stand_in(*(chunks(("base", f"Answer {number}.")) for number in range(1, 9)))
    page = open_page(says("x"), routes=routes)
    for number, question in enumerate(["One?", "Two?", "Three?"], 1):
        ask(page, question)
        answered(page, number)
    retry = page.get_by_role("button", name="Retry")
    expect(retry).to_have_count(1)  # only of the last answer, on which no other depends
    retry.click()
    expect(page.locator(".text")).to_have_text(["Answer 1.", "Answer 2.", "Answer 4."])
    assert [one["content"] for one in routes.bodies[-1]["messages"]] == [
        "One?",
        "Answer 1.",
        "Two?",
        "Answer 2.",
        "Three?",
    ]

    page.get_by_role("button", name="Edit").nth(1).click()
    field = page.get_by_label("Edited question")
    assert focused(page) == "Edited question"
    field.press("Escape")
    assert focused(page) == "Edit"
    page.keyboard.press("Enter")
    field.fill("Zwei?")
    field.press("Shift+Enter")
    field.press_sequentially("Drei?")
    field.press("Enter")
    expect(page.locator(".text")).to_have_text(["Answer 1.", "Answer 5."])
    assert page.locator(".question p").all_text_contents() == ["One?", "Zwei?\nDrei?"]
    assert [one["content"] for one in routes.bodies[-1]["messages"]] == ["One?", "Answer 1.", "Zwei?\nDrei?"]
    assert focused(page) == "Your question"
    page.reload()
    expect(page.locator(".text")).to_have_text(["Answer 1.", "Answer 5."])


@pytest.mark.parametrize("kind", ["full", "forbidden"])
def test_a_storage_that_refuses_does_not_break_the_page(open_page: Open, kind: str) -> None:
    init = {
        "full": "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') }",
        "forbidden": "for (const name of ['localStorage', 'sessionStorage'])"
        "Object.defineProperty(window, name, { get() { throw new DOMException('no', 'SecurityError') } })",
    }[kind]
    page = open_page(says("An answer."), init=init)
    ask(page, "First?")
    answered(page, 1)
    expect(page.locator("#notice")).to_contain_text("does not keep the conversation")
    page.get_by_role("button", name="New conversation").click()
    ask(page, "Second?")
    answered(page, 1)
    page.get_by_role("button", name="First?", exact=True).click()  # kept in memory
    expect(page.locator(".question p")).to_have_text("First?")
    page.get_by_role("button", name="Delete First?").click()
    expect(page.locator("#list li")).to_have_count(1)


def test_broken_conversations_are_set_aside(open_page: Open) -> None:
    page = open_page(says("An answer."))
    ask(page, "A good one?")
    answered(page, 1)
    broken = ["{", "null", "[]", '{"id": "b4", "title": "x", "updated": 1, "turns": [{"question": "?"}]}', '"x"']
    broken += [
        '{"id":"b5","title":"x","updated":1,"turns":[{"question":"?","answers":[{"mode":"nudged","pieces":[[1]],"tokens":[]}]}]}'
    ]
    page.evaluate(
        """broken => {
            broken.forEach((text, index) => localStorage.setItem(`nudging/conversation/b${index}`, text))
            sessionStorage.setItem('nudging/current', 'b3')
            localStorage.setItem('nudging/settings', '{{')
            localStorage.setItem('nudging/theme', '<')
        }""",
        broken,
    )
    page.reload()
    expect(page.locator("#list .open")).to_have_text("A good one?")
    ask(page, "Still there?")
    answered(page, 1)
    aside = page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('nudging/set-aside/')).length")
    assert aside == len(broken)


def test_two_tabs_share_conversations(open_page: Open) -> None:
    page = open_page(says("An answer."))
    ask(page, "From the first tab?")
    answered(page, 1)
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("article")).to_have_count(0)  # a new tab begins a conversation
    ask(other, "From the second tab?")
    answered(other, 1)
    expect(page.locator("#list .open")).to_have_text(["From the second tab?", "From the first tab?"])
    expect(page.locator(".question p")).to_have_text("From the first tab?")
    other.get_by_role("button", name="From the first tab?", exact=True).click()
    ask(other, "More?")
    expect(page.locator(".question p")).to_have_text(["From the first tab?", "More?"])
    answered(other, 2)
    other.get_by_role("button", name="Delete From the first tab?").click()
    expect(page.locator("article")).to_have_count(0)


def test_the_controls_are_sent_and_kept(open_page: Open) -> None:
    routes = stand_in(chunks(("base", "Yes.")))
    page = open_page(says("x"), routes=routes, context={"viewport": {"width": 1400, "height": 900}})
    ask(page, "With the server's settings?")
    answered(page, 1)
    names = ["rule", "threshold", "bet", "end", "max_tokens", "temperature", "logprobs", "alone"]
    assert not set(names) & set(routes.bodies[-1])
    assert [page.locator(f"#{name}").get_attribute("placeholder") for name in names[1:6]] == [
        "0.4",
        "0.2",
        "0.5",
        "256",
        "0",
    ]
    expect(page.locator(".meta")).to_contain_text("words, threshold 0.4")

    page.get_by_label("Threshold").fill("0.7")
    expect(page.get_by_label("Bet")).to_be_hidden()
    page.get_by_label("Rule").select_option("bet")
    expect(page.get_by_label("Threshold")).to_be_hidden()
    page.get_by_label("Bet").fill("0.1")
    page.get_by_label("End", exact=True).fill("0")
    page.get_by_label("Maximum tokens").fill("12")
    page.get_by_label("Temperature").fill("-1")
    expect(page.get_by_label("Temperature")).to_have_attribute("aria-invalid", "true")
    page.reload()
    ask(page, "With mine?")
    answered(page, 2)
    assert {name: routes.bodies[-1][name] for name in names if name in routes.bodies[-1]} == {
        "rule": "bet",
        "bet": 0.1,
        "end": 0,
        "max_tokens": 12,
    }
    expect(page.locator(".meta").last).to_contain_text("bet, bet 0.1")

    page.get_by_role("button", name="Back to the server").click()
    expect(page.get_by_label("Threshold")).to_have_value("")
    page.reload()
    ask(page, "With the server's settings?")
    answered(page, 3)
    assert not set(names) & set(routes.bodies[-1])


def test_the_compare_view_shows_three_answers(open_page: Open) -> None:
    def reply(body: dict[str, Any]) -> list[dict[str, Any]]:
        if body.get("alone") == "nudging":
            return [*chunks(("nudging", "Half"))[:1], {"error": {"message": "the nudging server is gone"}}]
        if body.get("alone") == "base":
            return chunks(("base", "Base alone."), finish="length")
        return chunks(("nudging", "Well, "), ("base", "nudged."))

    routes = stand_in(reply)
    page = open_page(says("x"), routes=routes, context={"viewport": {"width": 1400, "height": 900}})
    page.get_by_label("Compare").check()
    ask(page, "Which?")
    answered(page, 4)  # the failed answer has both a text and an error
    columns = page.locator(".answer")
    expect(columns.locator("h3")).to_have_text(["Base model alone", "Nudging model alone", "Nudged"])
    expect(columns.locator(".model")).to_have_text(
        ["base-7b", "<img src=x onerror=alert(1)>", "base-7b + <img src=x onerror=alert(1)>"]
    )
    expect(columns.locator(".text")).to_have_text(["Base alone.", "Half", "Well, nudged."])
    expect(columns.locator(".error")).to_have_text(["", "the nudging server is gone", ""])
    expect(columns.nth(0)).to_contain_text("cut at max_tokens")
    tops = {round(column.bounding_box()["y"]) for column in columns.all()}
    assert len(tops) == 1
    page.set_viewport_size({"width": 360, "height": 700})
    lefts = {round(column.bounding_box()["x"]) for column in columns.all()}
    assert len(lefts) == 1
    page.get_by_role("button", name="Edit").focus()
    ask(page, "And then?")
    answered(page, 8)
    contents = [[one["content"] for one in body["messages"]] for body in routes.bodies[-3:]]
    assert contents == 3 * [["Which?", "Well, nudged.", "And then?"]]
    page.reload()
    expect(columns).to_have_count(6)


def test_the_keyboard_is_enough_and_answers_are_announced_once(open_page: Open) -> None:
    page = open_page(says("One **two** three."), context={"viewport": {"width": 900, "height": 700}})
    expect(page.locator("#welcome")).to_be_visible()
    page.evaluate("""() => {
        window.said = []
        const announcer = document.querySelector('#announcer')
        new MutationObserver(() => window.said.push(announcer.textContent)).observe(announcer, { childList: true })
    }""")
    assert focused(page) == "Your question"
    page.keyboard.type("A question")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("of two lines?")
    page.keyboard.press("Enter")
    answered(page, 1)
    assert page.locator(".question p").text_content() == "A question\nof two lines?"
    assert [one for one in page.evaluate("window.said") if one] == ["Answer: One two three."]
    names, rings = [], []
    page.locator("body").evaluate("body => { body.tabIndex = -1; body.focus(); body.removeAttribute('tabindex') }")
    for _ in range(13):
        page.keyboard.press("Tab")
        names.append(focused(page))
        rings.append(
            page.evaluate("""() => {
            const style = one => getComputedStyle(one)
            const one = document.activeElement
            return style(one).outlineStyle !== 'none' || style(one.form ?? one).outlineStyle !== 'none'
        }""")
        )
    title = "A question"
    assert names == [
        "Skip to the question", "New conversation", title, f"Rename {title}", f"Delete {title}", "Settings", "Edit",
        "Copy", "Retry", "Your question", "Compare", "Confidence", "Send",
    ]  # fmt: skip
    assert all(rings)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    expect(page.get_by_label("Confidence")).to_be_checked()

    page.get_by_role("button", name="Settings", exact=True).focus()
    page.keyboard.press("Enter")
    assert focused(page) == "Close"
    page.keyboard.press("Escape")
    assert focused(page) == "Settings"
    expect(page.get_by_role("button", name="Settings", exact=True)).to_have_attribute("aria-expanded", "false")


def test_answers_are_copied_as_markdown(open_page: Open) -> None:
    page = open_page(says("One **two** three."), context={"permissions": ["clipboard-read", "clipboard-write"]})
    ask(page, "What?")
    answered(page, 1)
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "One **two** three."
    page.evaluate("navigator.clipboard.writeText('')")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as on http
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    page.get_by_label("Your question").press("Control+V")
    expect(page.get_by_label("Your question")).to_have_value("One **two** three.")


def test_the_waiting_time_is_shown_until_the_first_text(open_page: Open) -> None:
    def script(prompt: str, text: str) -> Sequence[Step]:
        if text:
            released.wait(20)
            return [Step("", 0.9, end=True)]
        time.sleep(1.2)
        return [Step("Hello.", 0.9)]

    released = Event()
    page = open_page(Nudger(ScriptedModel(script), ScriptedModel(script)))
    ask(page, "Hello?")
    expect(page.locator(".waiting")).to_have_text("reading the prompt … 1 s")
    expect(page.locator(".text")).to_have_text("Hello.", timeout=20_000)
    page.wait_for_timeout(700)
    assert page.locator("[aria-busy]").count() == 1  # the answer is not finished
    assert page.locator(".waiting").text_content() == ""
    released.set()
    answered(page, 1)


def test_the_page_scrolls_along_only_for_readers_at_its_end(open_page: Open) -> None:
    page = open_page(never_ends(), context={"viewport": {"width": 400, "height": 400}})
    ask(page, "Count without end")
    at_end = "scrollY > 50 && document.documentElement.scrollHeight - scrollY - innerHeight < 3"
    until(page, at_end)
    page.mouse.wheel(0, -5000)
    until(page, "scrollY === 0")
    expect(page.get_by_role("button", name="Go to the latest text")).to_be_visible()
    written = len(page.locator(".text").text_content() or "")
    until(page, f"document.querySelector('.text').textContent.length > {written + 100}")
    assert page.evaluate("scrollY") == 0
    page.get_by_role("button", name="Go to the latest text").click()
    until(page, at_end)
    expect(page.get_by_role("button", name="Go to the latest text")).to_be_hidden()
    page.keyboard.press("Escape")


def test_a_reload_keeps_what_was_written(open_page: Open) -> None:
    page = open_page(never_ends())
    ask(page, "Count without end")
    expect(page.locator(".text")).to_contain_text("word3")
    page.reload()
    expect(page.locator(".text")).to_contain_text("word3")
    expect(page.locator(".meta")).to_contain_text("interrupted")


LONG = f"""# Title {"x" * 90}

A [link](https://example.org/{"y" * 200}) and `{"code" * 30}`

```
{"line " * 60}
```

| {"head " * 9} | b | c | d | e | f |
|---|---|---|---|---|---|
| {"cell" * 20} | b | c | d | e | f |
"""


@pytest.mark.parametrize("width", [360, 768, 1400])
def test_no_width_scrolls_sideways(open_page: Open, width: int) -> None:
    reply = chunks(*(("nudging" if number % 2 else "base", text, 0.3) for number, text in enumerate(LONG.split("|"))))
    routes = stand_in(chunks(("base", LONG, 0.2)), reply)
    page = open_page(says("x"), routes=routes, context={"viewport": {"width": width, "height": 700}})
    page.get_by_label("Confidence").check()
    ask(page, "w" * 200)
    answered(page, 1)
    page.get_by_label("Compare").check()
    ask(page, "Three?")
    answered(page, 4)
    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert page.evaluate(fits)
    assert page.locator("pre").first.evaluate("one => one.scrollWidth > one.clientWidth")
    if width < 800:
        for name in ("Conversations", "Settings"):
            page.get_by_role("button", name=name, exact=True).click()
            assert focused(page) == "Close"
            assert page.evaluate(fits)
            page.keyboard.press("Escape")
            assert focused(page) == name


def test_a_screen_reader_finds_its_way(open_page: Open) -> None:
    page = open_page(says("One **two** three."), context={"viewport": {"width": 1400, "height": 900}})
    ask(page, "What?")
    answered(page, 1)
    tree = page.locator("body").aria_snapshot()
    for line in [
        '- navigation "Conversations":',
        "- main:",
        '- complementary "Settings":',
        '- log "Questions and answers":',
        '- heading "What?" [level=1]',
        '- heading "Question 1" [level=2]',
        '- heading "Answer" [level=3]',
        "- strong: two",
        '- textbox "Your question"',
        '- checkbox "Compare"',
        '- combobox "Rule"',
        '- spinbutton "Threshold"',
        '- textbox "API key"',
    ]:
        assert line in tree, tree
    assert page.locator("#log").get_attribute("aria-live") == "off"


def test_the_colours_are_the_systems_or_chosen(open_page: Open) -> None:
    wide = {"viewport": {"width": 1400, "height": 900}}
    page = open_page(says("x"), context={"color_scheme": "dark", "reduced_motion": "reduce", **wide})
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_label("Colours").select_option("light")
    light = page.evaluate(background)
    page.reload()
    assert page.evaluate(background) == light != dark
    page.get_by_label("Colours").select_option("")
    assert page.evaluate(background) == dark
    page.emulate_media(color_scheme="light")
    assert page.evaluate(background) == light
    assert page.locator(".waiting").count() == 0
    ask(page, "Any motion?")
    answered(page, 1)
    assert page.locator(".waiting").evaluate("one => getComputedStyle(one).animationName") == "none"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violations(open_page: Open, scheme: str) -> None:
    probabilities = [0.02, 0.1, 0.3, 0.5, 0.7, 0.9]
    pieces = [(author, f"{author} {p} ", p) for p in probabilities for author in ("base", "nudging")]
    table = ("base", "\n\n```\ncode\n```\n\n[link](https://a.b)\n\n# Title\n\n| a |\n|---|\n| 1 |\n", 0.9)
    error = [{"error": {"message": "the base server is gone"}}]
    routes = stand_in(chunks(*pieces, table), chunks(*pieces), error, chunks(*pieces))
    page = open_page(
        says("x"), routes=routes, context={"color_scheme": scheme, "viewport": {"width": 1400, "height": 900}}
    )
    page.evaluate(AXE.read_text())
    found = {"empty": page.evaluate("axe.run()")}
    page.get_by_label("Confidence").check()
    ask(page, "One?")
    answered(page, 1)
    page.get_by_text("Probabilities").click()
    page.get_by_label("Compare").check()
    ask(page, "Two?")
    answered(page, 4)
    page.get_by_role("button", name="Edit").first.click()
    page.get_by_role("button", name="Rename").click()
    found["full"] = page.evaluate("axe.run()")
    page.set_viewport_size({"width": 360, "height": 700})
    found["phone"] = page.evaluate("axe.run()")
    page.get_by_role("button", name="Settings", exact=True).click()
    found["settings"] = page.evaluate("axe.run()")
    problems = [
        (state, one["id"], [node["html"] for node in one["nodes"]])
        for state, result in found.items()
        for one in result["violations"]
    ]
    assert problems == []


def test_the_page_has_no_code_of_its_own_and_names_no_other_host() -> None:
    html = (PAGE / "index.html").read_text()
    assert "://" not in html
    assert not re.search(r"\s(style|on\w+)=", html)
    for file in [*PAGE.glob("*.js"), *PAGE.glob("*.css")]:
        assert not re.search(r"(import|from|fetch|url)[ (]*['\"](\w+:)?//", file.read_text()), file
    licences = {path.name for path in (PAGE / "vendor").glob("*.LICENSE")}
    assert {"markdown-it.LICENSE", "source-sans-3.LICENSE", "source-serif-4.LICENSE"} <= licences
