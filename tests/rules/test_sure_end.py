"""The sure end under every rule: the answer ends where the nudging model is sure that it is done."""

from typing import Any

import pytest
from nudging.errors import SettingsError
from nudging.rules.sure_end import is_within_word
from nudging.step import Step
from played import play, say, script

RAMBLE = ("It", " is", " Mac", "beth", ".", " Next", ":", " who", " wrote", " the", " Iliad", "?", " Homer")
BASE = script(*RAMBLE)
"""A base model that is sure of everything, also after the answer is done."""

ANSWER = "It is Macbeth."
RULES = pytest.mark.parametrize("rule", ["words", "tokens", "bet", "blend"])


def nudging(end: Step) -> dict[str, list[Step]]:
    """Return a nudging model that writes the same, unsure of itself, with this step after the answer."""
    return script(*RAMBLE, p=0.2) | {ANSWER: [end]}


@RULES
@pytest.mark.parametrize(("probability", "ends"), [(0.5, True), (0.9, True), (0.49, False)])
def test_an_answer_ends_where_the_nudging_model_is_sure_of_it(rule: str, probability: float, ends: bool) -> None:
    played = play(nudging(Step("", probability, end=True)), BASE, rule=rule, end=0.5)
    assert played.finish_reason == ("stop" if ends else "length")
    assert played.text == (ANSWER if ends else "".join(RAMBLE))


@RULES
def test_without_it_a_base_model_that_is_sure_goes_on(rule: str) -> None:
    played = play(nudging(Step("", 1.0, end=True)), BASE, rule=rule)
    assert (played.text, played.finish_reason) == ("".join(RAMBLE), "length")
    assert [text for text in played.checked if len(text) > len("It is")] == []


@RULES
def test_the_nudging_model_is_not_asked_inside_a_word(rule: str) -> None:
    inside = {"It is Mac": say(end=True)}
    played = play(nudging(Step("", 1.0, end=True)) | inside, BASE, rule=rule, end=0.5)
    assert played.text == ANSWER
    assert "It is Mac" not in played.checked


@RULES
def test_a_sampled_end_needs_a_probability_of_its_own(rule: str) -> None:
    played = play(nudging(Step("", 0.9, end=True, sampled=0.05)), BASE, rule=rule, end=0.5)
    assert played.finish_reason == "length"


def test_a_short_text_that_came_before_is_no_loop_at_a_sure_end() -> None:
    """The full stop is in the run already, and yet it belongs to the answer."""
    tokens = ("So", " a", ".", *(f" {number}" for number in range(14)), ".", " more")
    whole = "".join(tokens[:-1])
    played = play(script(*tokens, p=0.2) | {whole: say(end=True)}, script(*tokens), end=0.5)
    assert (played.text, played.finish_reason) == (whole, "stop")


def test_the_end_of_a_full_context_is_no_sure_end() -> None:
    own = script(*RAMBLE, p=0.2) | {"It is": [], "It is Mac": [], "It is Macbeth": [], ANSWER: []}
    played = play(own, BASE, end=0.5)
    assert played.text == "".join(RAMBLE)


@pytest.mark.parametrize(
    ("before", "after", "inside"),
    [("Mac", "beth", True), ("Paris", ".", False), ("Paris", " is", False), ("12", "5", True), ("", "It", False)],
)
def test_places_inside_words(before: str, after: str, inside: bool) -> None:
    assert is_within_word(before, after) is inside


@pytest.mark.parametrize("value", [-0.1, 1.1, "often"])
def test_its_probability_is_checked(value: Any) -> None:
    with pytest.raises(SettingsError, match="end="):
        play({}, end=value)
