"""The test of the paper token by token, against tables of steps."""

import pytest
from nudging.step import Step
from played import play, say


def test_the_nudging_model_writes_the_first_token() -> None:
    own = {"": say("Well"), "Well": say(" it"), "Well so": say(end=True)}
    its = {"Well": [*say(" so"), *say(" um", p=0.1)]}
    played = play(own, its, rule="tokens")
    assert played.authors == [("nudging", "Well"), ("base", " so")]


@pytest.mark.parametrize(("probability", "writes"), [(0.4, "base"), (0.39, "nudging")])
def test_the_base_model_writes_while_it_is_sure(probability: float, writes: str) -> None:
    own = {"": say("Well"), "Well": say(" it"), "Well it": say(end=True), "Well so": say(end=True)}
    its = {"Well": [Step(" so", probability), *say(" um", p=0.1)], "Well it": say(" um", p=0.1)}
    assert play(own, its, rule="tokens").authors[1][0] == writes


def test_the_nudging_model_finishes_its_word() -> None:
    """The base model is not asked inside it."""
    own = {"": say("Mac"), "Mac": say("beth"), "Macbeth": say(" is"), "Macbeth was": say(end=True)}
    its = {"Macbeth": [*say(" was"), *say(" um", p=0.1)]}
    played = play(own, its, rule="tokens")
    assert played.authors == [("nudging", "Mac"), ("nudging", "beth"), ("base", " was")]
    assert played.asked == [("base", "Macbeth")]


def test_it_also_finishes_a_word_of_the_base_model() -> None:
    own = {
        "": say("Well"),
        "Well": say(" it"),
        "Well Mac": say("beth"),
        "Well Macbeth": say(" is"),
        "Well Macbeth was": say(end=True),
    }
    its = {"Well": [*say(" Mac"), *say("aw", p=0.1)], "Well Macbeth": [*say(" was"), *say(" um", p=0.1)]}
    played = play(own, its, rule="tokens")
    assert played.authors == [("nudging", "Well"), ("base", " Mac"), ("nudging", "beth"), ("base", " was")]


def test_only_the_nudging_model_ends_the_answer() -> None:
    own = {"": say("Well"), "Well": say(" it"), "Well it": say(end=True)}
    played = play(own, {"Well": say(end=True, p=1.0), "Well it": say(end=True, p=1.0)}, rule="tokens")
    assert (played.text, played.finish_reason) == ("Well it", "stop")


@pytest.mark.parametrize("own", [{"": []}, {"": say("Well"), "Well": []}])
def test_a_full_context_of_the_nudging_model_ends_the_answer(own: dict[str, list[Step]]) -> None:
    assert play(own, rule="tokens").finish_reason == "length"


def test_a_full_context_of_the_base_model_ends_the_answer() -> None:
    assert play({"": say("Well"), "Well": say(" it")}, {"Well": []}, rule="tokens").finish_reason == "length"


def test_stop_strings_and_budget_hold() -> None:
    own = {"": say("Well"), "Well": say(" it"), "Well it": say(" is")}
    its = {"Well": say(" um", p=0.1), "Well it": say(" um", p=0.1)}
    assert play(own, its, rule="tokens", stop="it").text == "Well "
    assert play(own, its, rule="tokens", max_tokens=6).text == "Well i"
