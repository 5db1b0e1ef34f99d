"""Answers shown in terminals and notebooks."""

from nudging import Nudger, ScriptedModel
from nudging.answer import Answer, ModelUsage, Piece, Usage
from rich.console import Console


def answer(*pieces: Piece) -> Answer:
    usage = Usage(3, sum(piece.tokens for piece in pieces), ModelUsage(3), ModelUsage(4))
    return Answer(pieces, "stop", usage)


HELLO = answer(
    Piece("Hello", "nudging", 1, 0),
    Piece(" <b>you", "base", 2, 0),
    Piece("\n&", "base", 1, 0),
    Piece("!", "nudging", 1, 1),
)


def test_an_answer_derives_its_text_ratio_words_and_rounds_from_its_pieces() -> None:
    assert HELLO.text == str(HELLO) == "Hello <b>you\n&!"
    assert HELLO.nudge_ratio == 2 / 5
    assert HELLO.nudging_words == ["Hello", "!"]
    assert HELLO.rounds == ["Hello <b>you\n&", "!"]
    assert answer().nudge_ratio == 0
    assert HELLO.to_dict()["usage"]["total_tokens"] == 8


def test_html_marks_the_authors_and_escapes_the_text() -> None:
    html = HELLO._repr_html_()
    assert '<span class="nudging-nudging"' in html
    assert " &lt;b&gt;you\n&amp;" in html
    assert "<b>" not in html
    assert "5 tokens · 40% nudged · stop" in html


def test_rich_prints_the_text_in_two_colours() -> None:
    console = Console(force_terminal=True, color_system="truecolor", width=80)
    with console.capture() as capture:
        console.print(HELLO)
    assert "\x1b[1;35mHello\x1b[0m\x1b[36m <b>you" in capture.get()


def test_text_from_a_model_cannot_control_the_terminal() -> None:
    console = Console(force_terminal=True, width=80)
    with console.capture() as capture:
        console.print(answer(Piece("\x1b[2J\x07", "base", 1, 0)))
    assert "␛[2J␇" in capture.get()


def test_an_answer_of_a_nudger_is_shown_as_html() -> None:
    model = ScriptedModel("Hello there.")
    assert "Hello there." in Nudger(model, model).generate("Hi")._repr_html_()
