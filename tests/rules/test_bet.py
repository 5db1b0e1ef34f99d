"""The confidence bet against tables of steps."""

import pytest
from nudging.step import Step
from played import play, say, script


@pytest.mark.parametrize(
    ("base", "nudging", "bet", "writes"),
    [
        (0.5, 0.7, 0.2, "base"),
        (0.5, 0.71, 0.2, "nudging"),
        (0.5, 0.71, 0.3, "base"),
        (0.1, 0.3, 0.2, "base"),
        (0.79, 1.0, 0.2, "nudging"),
        (0.5, 0.5, 0.0, "base"),
        (0.5, 0.51, 0.0, "nudging"),
    ],
)
def test_the_base_token_stands_unless_the_nudging_model_is_clearly_more_confident(
    base: float, nudging: float, bet: float, writes: str
) -> None:
    own = {"": [Step("Well", nudging)], "Yes": say(end=True), "Well": say(end=True)}
    its = {"": [Step("Yes", base)], "Yes": say(" so", p=0.1), "Well": say(" so", p=0.1)}
    played = play(own, its, rule="bet", bet=bet)
    assert played.authors == [(writes, "Yes" if writes == "base" else "Well")]


def test_a_sampled_token_stands_by_its_own_probability() -> None:
    own = {"": [Step("Well", 0.7)], "Well": say(end=True)}
    its = {"": [Step("Hm", 0.9, sampled=0.05)], "Well": say(" so", p=0.1)}
    assert play(own, its, rule="bet").text == "Well"


def test_a_token_that_stands_in_any_case_is_not_checked() -> None:
    its = {"": [*say("It", " is", " so", p=0.8), *say(" um", p=0.79)]}
    played = play({"It is so": say(end=True, p=1.0)}, its, rule="bet")
    assert (played.text, played.checked) == ("It is so", ["It is so"])


def test_the_base_model_goes_on_after_a_token_that_stands() -> None:
    """Nothing is asked anew: the base model's steps are still those of the first time."""
    its = {"": [*say("It", p=0.5), *say(" is", " so", p=0.9), *say(" um", p=0.1)]}
    played = play({"": say("It", p=0.6), "It is so": say(end=True)}, its, rule="bet")
    assert (played.text, played.asked) == ("It is so", [("base", "")])


def test_an_end_of_the_base_model_is_left_to_the_nudging_model() -> None:
    its = {"": say("It", end=True), "It is": say(end=True)}
    played = play({"It": say(" is", p=0.3), "It is": say(end=True, p=0.3)}, its, rule="bet")
    assert played.authors == [("base", "It"), ("nudging", " is")]
    assert played.finish_reason == "stop"


@pytest.mark.parametrize(
    ("own", "its", "writes"),
    [
        ("``", "```", "base"),
        (".", ".\n", "base"),
        (" a", " and", "nudging"),
        (" and", " a", "nudging"),
        ("1", "12", "nudging"),
    ],
)
def test_a_shorter_token_of_the_nudging_model_is_no_objection(own: str, its: str, writes: str) -> None:
    answers = {text: say(end=True) for text in (own, its)}
    played = play(
        {"": [Step(own, 0.9)], **answers}, {"": [Step(its, 0.3)], own: say(end=True), its: say(end=True)}, rule="bet"
    )
    assert [author for author, _ in played.authors] == [writes]


def test_a_character_of_several_steps_is_one_token() -> None:
    its = {"": [Step("", 0.9), Step("é", 0.2), *say(" um", p=0.1)]}
    played = play({"é": say(end=True)}, its, rule="bet")
    assert played.authors == [("base", "é")]
    assert played.pieces[0].tokens == 2


def test_a_character_of_several_steps_of_the_nudging_model_is_asked_for_whole() -> None:
    own = {"": [Step("", 0.9), Step("é", 0.3)], "é": say(end=True)}
    assert play(own, {"": say("e", p=0.1), "é": say(end=True)}, rule="bet").authors == [("nudging", "é")]


def test_a_model_that_writes_only_special_tokens_does_not_hang() -> None:
    special = [Step("", 0.9)] * 20
    assert play({"": special}, {"": special}, rule="bet").finish_reason == "stop"


def test_a_run_longer_than_one_request_is_asked_for_again() -> None:
    letters = [f" {letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    played = play({}, script(*letters), rule="bet")
    assert [text for _, text in played.asked][:2] == ["", "".join(letters[:16])]
    assert (played.text, played.finish_reason) == ("".join(letters), "length")


@pytest.mark.parametrize("full", ["base", "nudging"])
def test_a_full_context_ends_the_answer(full: str) -> None:
    its = {"": say("It", p=0.9), "It": [] if full == "base" else say(" um", p=0.1)}
    assert play({"It": []}, its, rule="bet").finish_reason == "length"


def test_rounds_begin_where_the_nudging_model_begins_to_write() -> None:
    own = {"": say("A"), "A": say(" b"), "A b c": say(" d"), "A b c d": say(end=True)}
    unsure = {text: say(" um", p=0.1) for text in ("", "A", "A b c d")}
    played = play(own, unsure | {"A b": [*say(" c"), *say(" um", p=0.1)]}, rule="bet")
    assert [(piece.text, piece.round) for piece in played.pieces] == [("A", 0), (" b", 0), (" c", 0), (" d", 1)]
