"""How the chat page renders answers: markdown, authors and probabilities, and nothing that an answer could run."""

from itertools import groupby
from typing import Any

import pytest
from chat_page import CHROMIUM, Open, ask, chunks, says, stand_in
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, expect
from served import serving

pytestmark = [
    pytest.mark.enable_socket,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]

MARKS = [
    "*",
    "**",
    "_",
    "`",
    "```\n",
    "~~~ab\n",
    "# ",
    "\n## ",
    "- ",
    "\n- ",
    "\n1. ",
    "2) ",
    "> ",
    "\n> ",
    "\n\n",
    "\n",
]
MARKS += [
    "    ",
    "\t",
    "[",
    "](http://ab.c/nz)",
    "[a",
    "][r]",
    "\n\n[r]: http://az.b\n\n",
    "<http://ab.cn>",
    "~~",
    "\\",
]
MARKS += [
    "![az](http://ab.c)",
    "|",
    "\n| a | z |\n|---|---|\n| b | y |\n",
    "&amp;",
    "&lt;",
    "&#233;",
    "<b>",
    "</b>",
    "  \n",
]
MARKS += [
    "http://an.zb/az",
    "***",
    "---\n",
    "===\n",
    "\\*",
    "\\|",
    "`` a`z ``",
    ' "az"',
    "é",
    "🙂",
    "\r\n",
    "\0",
    "-",
    "5. ",
]
WORDS = st.text(st.sampled_from("abnz .,!-1"), min_size=1, max_size=6)
SOURCES = st.lists(st.sampled_from(MARKS) | WORDS, max_size=25).map("".join)

RENDER = """async sources => {
    const { renderBlocks } = await import('./page/markdown.js')
    const plain = globalThis.markdownit({ linkify: true, breaks: true }).disable('image')
    plain.linkify.set({ fuzzyLink: false, fuzzyEmail: false })
    plain.validateLink = target => /^(https?:\\/\\/|mailto:)/i.test(target)
    const body = html => { const one = document.createElement('template'); one.innerHTML = html; return one.content }
    return sources.map(([source, runs]) => {
        const authored = body(renderBlocks(source, runs).join(''))
        const parts = [...authored.querySelectorAll('[class^=base], [class^=nudging]')]
        return {
            plain: body(plain.render(source.replace(/[\\r\\0]/g, ' '))).textContent,
            authored: authored.textContent,
            parts: parts.map(one => [one.className.split(' ')[0], one.textContent]),
            tags: [...authored.querySelectorAll('*')].map(one => one.localName),
            links: [...authored.querySelectorAll('a')].map(one => [one.href, one.rel]),
        }
    })
}"""


def runs(pieces: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return (author, text) pairs as the page's runs, whose ends are counted in UTF-16."""
    result, end = [], 0
    for author, text in pieces:
        end += len(text.encode("utf-16-le")) // 2
        result.append({"end": end, "author": author, "className": author})
    return result


def author_of(character: str) -> str:
    return "nudging" if character in "nopqrstuvwxyz5_*" else "base"


def by_letter(source: str) -> tuple[str, list[dict[str, Any]]]:
    """Return a source whose authors can be read off its letters: a to m are the base model's."""
    return source, runs([(author_of(one), one) for one in source])


def without_blanks(text: str) -> str:
    return "".join(text.split())


def test_authors_never_change_the_text_and_every_letter_keeps_its_author(open_page: Open) -> None:
    samples: list[str] = []

    @given(SOURCES)
    @settings(max_examples=400, database=None)
    def collect(source: str) -> None:
        samples.append(source)

    collect()
    letters = 0
    for source, shown in zip(
        samples, open_page(says("x")).evaluate(RENDER, list(map(by_letter, samples))), strict=True
    ):
        assert shown["authored"] == shown["plain"], source
        assert without_blanks("".join(text for _, text in shown["parts"])) == without_blanks(shown["authored"]), source
        for author, text in shown["parts"]:
            for letter in set(text) & set("abnz"):
                letters += 1
                assert author == author_of(letter), (source, text)
    assert letters > 2_000


# Sources by author, and the rendered text by author: the same characters are in the markup too, by the other author.
MISLEADING = [
    ([("base", "[x](http://a.b/n)"), ("nudging", "n")], [("base", "x"), ("nudging", "n")]),
    ([("base", '[x](<http://n> "n)n")'), ("nudging", "n")], [("base", "x"), ("nudging", "n")]),
    ([("base", "[x][n]"), ("nudging", "n"), ("base", "\n\n[n]: http://a.b")], [("base", "x"), ("nudging", "n")]),
    ([("base", "<http://a.b/n>"), ("nudging", ">")], [("base", "http://a.b/n"), ("nudging", ">")]),
    ([("base", "1. "), ("nudging", "1")], [("nudging", "1")]),
    ([("base", "- "), ("nudging", "-5")], [("nudging", "-5")]),
    ([("base", "> "), ("nudging", "\\>")], [("nudging", ">")]),
    ([("base", "## "), ("nudging", "a#")], [("nudging", "a#")]),
    ([("base", "**b**"), ("nudging", "*")], [("base", "b"), ("nudging", "*")]),
    ([("base", "\\*"), ("nudging", "*")], [("base", "*"), ("nudging", "*")]),
    ([("base", "&lt;"), ("nudging", "l<")], [("base", "<"), ("nudging", "l<")]),
    ([("base", "``` n\n"), ("nudging", "n\n"), ("base", "```")], [("nudging", "n\n")]),
    ([("base", "`` ` "), ("nudging", "`` b")], [("base", "`"), ("nudging", " b")]),
    ([("base", "| n |\n|---|\n"), ("nudging", "| n |")], [("base", "n"), ("nudging", "n")]),
]


def test_markup_does_not_mislead_the_authors(open_page: Open) -> None:
    samples = [("".join(text for _, text in pieces), runs(pieces)) for pieces, _ in MISLEADING]
    for shown, (pieces, expected) in zip(open_page(says("x")).evaluate(RENDER, samples), MISLEADING, strict=True):
        parts = groupby(shown["parts"], key=lambda part: part[0])
        assert [(author, "".join(text for _, text in part)) for author, part in parts] == expected, pieces


ATTACKS = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "[click](javascript:window.hacked=1)",
    "[click](JaVaScRiPt&#58;window.hacked=1)",
    "[click](data:text/html,<script>window.hacked=1</script>)",
    "<javascript:window.hacked=1>",
    "![picture](http://127.0.0.1:9/x.png)",
    "```html\n<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\n```",
    "`<svg onload=window.hacked=1>`",
    '[title](https://a.b/ "x onmouseover=window.hacked=1")',
    '[quote](https://a.b/"onmouseover="window.hacked=1)',
    "<style>body { display: none }</style>\n<meta http-equiv=refresh content='0; url=http://127.0.0.1:9/'>",
    "| <iframe src=javascript:window.hacked=1> |\n|---|\n| <b onclick=window.hacked=1>x</b> |",
    "[safe](https://example.org/a) https://example.org/b <mailto:a@example.org>",
]


def test_nothing_in_an_answer_a_question_a_name_or_an_error_can_run_or_load(open_page: Open) -> None:
    requests: list[str] = []
    replies = [chunks(("base", attack)) for attack in ATTACKS] + [[{"error": {"message": ATTACKS[1]}}]]
    routes = stand_in(*replies)
    page = open_page(says("x"), routes=routes)
    page.on("request", lambda request: requests.append(request.url))
    for attack in [*ATTACKS, ATTACKS[1]]:
        ask(page, attack)
        expect(page.locator("article")).to_have_count(len(routes.bodies))
        expect(page.locator("[aria-busy]")).to_have_count(0)
    expect(page.locator(".error").last).to_have_text(ATTACKS[1])
    assert page.locator(".question p").first.text_content() == ATTACKS[0]
    assert page.locator(".text").first.text_content() == ATTACKS[0]
    assert page.locator("#nudging-name").text_content() == "<img src=x onerror=alert(1)>"
    page.reload()
    expect(page.locator("article")).to_have_count(len(ATTACKS) + 1)
    assert page.evaluate("window.hacked") is None
    assert page.locator(".text :is(script, img, svg, style, iframe, meta, object, form, input)").count() == 0
    attributes = page.evaluate(
        "[...new Set([...document.querySelectorAll('.text *')].flatMap(one => one.getAttributeNames()))]"
    )
    assert set(attributes) <= {"class", "href", "rel", "target", "title", "tabindex"}
    links = page.locator(".text a").evaluate_all("all => all.map(one => [one.protocol, one.rel])")
    assert {protocol for protocol, _ in links} == {"https:", "http:", "mailto:"}
    assert all("noopener" in rel for _, rel in links)
    assert {"/".join(url.split("/")[:3]) for url in requests} == {"/".join(page.url.split("/")[:3])}


def test_the_page_refuses_what_its_own_files_do_not_bring(browser: Browser) -> None:
    """The Content-Security-Policy holds even if markdown were rendered wrongly."""
    with serving(says("x")) as url, browser.new_page() as page:
        page.goto(url)
        found, hacked = page.evaluate(TRY_TO_RUN)
    assert set(found) == {"img-src", "script-src-attr", "script-src-elem", "frame-src", "connect-src"}
    assert hacked is None


TRY_TO_RUN = """async () => {
        window.refused = []
        document.addEventListener('securitypolicyviolation', event => window.refused.push(event.effectiveDirective))
        const log = document.querySelector('#log')
        log.innerHTML = '<img src="http://127.0.0.1:9/x.png"><p onclick="window.hacked = 1">x</p>'
        log.querySelector('p').click()
        log.append(Object.assign(document.createElement('script'), { text: 'window.hacked = 1' }))
        log.append(Object.assign(document.createElement('iframe'), { src: 'data:text/html,x' }))
        fetch('http://127.0.0.1:9/').catch(() => {})
        for (let frame = 0; frame < 100 && window.refused.length < 5; frame++) await new Promise(requestAnimationFrame)
        return [window.refused, window.hacked]
    }"""


def test_markdown_is_rendered(open_page: Open) -> None:
    text = (
        "# Title\n\n**bold** and `code`\n\n1. one\n2. two\n\n```python\nx = 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    page = open_page(says(text))
    ask(page, "Markdown?")
    expect(page.locator(".meta")).to_contain_text("tokens")
    shown = page.locator(".text")
    expect(shown.get_by_role("heading", level=4)).to_have_text("Title")  # below the page's own headings
    expect(shown.locator("strong")).to_have_text("bold")
    expect(shown.get_by_role("listitem")).to_have_text(["one", "two"])
    expect(shown.locator("pre")).to_have_text("x = 1\n")
    expect(shown.get_by_role("cell")).to_have_text(["1", "2"])


def test_tokens_are_shaded_by_the_base_models_probability_on_request(open_page: Open) -> None:
    reply = chunks(("nudging", "Sure, ", 0.03), ("base", "**blue", 0.95), ("base", "** sky", 0.5))
    routes = stand_in(reply)
    page = open_page(says("x"), routes=routes)
    ask(page, "Without?")
    expect(page.locator(".meta")).to_have_count(1)
    assert "logprobs" not in routes.bodies[0]
    assert page.locator(".text [title]").count() == 0

    page.get_by_label("Confidence").check()
    ask(page, "With?")
    expect(page.locator(".meta")).to_have_count(2)
    assert routes.bodies[1]["logprobs"] is True
    parts = (
        page.locator(".text")
        .last.locator("span")
        .evaluate_all(
            "all => all.map(one => [one.textContent, one.className, one.title, getComputedStyle(one).backgroundColor])"
        )
    )
    assert [part[:3] for part in parts] == [
        ["Sure, ", "nudging unsure-5", "base model: 3%"],
        ["blue", "base", "base model: 95%"],
        [" ", "base unsure-2 blank", "base model: 50%"],
        ["sky", "base unsure-2", "base model: 50%"],
    ]
    assert len({part[3] for part in parts}) == 3
    page.get_by_text("Probabilities").last.click()
    rows = page.locator("details[open] tbody tr")
    expect(rows).to_have_text(["Sure, nudging3%", "**bluebase95%", "** skybase50%"])

    page.get_by_label("Confidence").uncheck()
    assert page.locator(".text [title]").count() == 0
    ask(page, "Without?")
    expect(page.locator(".meta")).to_have_count(3)
    assert "logprobs" not in routes.bodies[2]


def test_a_long_answer_is_rendered_once_per_frame_and_block_by_block(open_page: Open) -> None:
    page = open_page(says("x"))
    measured = page.evaluate("""async () => {
        const { AnswerView } = await import('./page/answer-view.js')
        const { addChunk, newAnswer } = await import('./page/answer.js')
        const answer = newAnswer('nudged')
        let renders = 0
        const options = { title: '', confidence: () => true, rendered: () => renders++, retry: () => {} }
        const view = new AnswerView(answer, options)
        document.querySelector('#log').append(view.element)
        const frame = () => new Promise(requestAnimationFrame)
        let frames = 0, first
        renders = 0
        for (let token = 0; token < 4000; token++) {
            const text = token % 40 === 39 ? '.\\n\\n' : ` word${token}`
            const author = token % 5 ? 'base' : 'nudging'
            const logprobs = { content: [{ token: text, logprob: -1 }] }
            addChunk(answer, { choices: [{ nudging: { text, author }, logprobs }] })
            view.update()
            if (token % 20 === 19) {
                await frame()
                frames++
            }
            if (token === 100) first = view.text.firstElementChild
        }
        const isKept = first === view.text.firstElementChild
        return { renders, frames, isKept, blocks: view.text.children.length }
    }""")
    assert measured["renders"] <= measured["frames"] + 1
    assert measured["isKept"]
    assert measured["blocks"] == 100
