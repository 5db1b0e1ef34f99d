"""Loops of the base model under the rules that decide token by token."""

import pytest
from nudging.step import Step
from played import play, say, script

LOOP = [" a", " b", " c", " d"]
RULES = pytest.mark.parametrize("rule", ["tokens", "bet", "blend"])
START = "So it goes:"


def base(repeats: int = 5) -> dict[str, list[Step]]:
    """Return a base model that repeats four tokens, after the nudging model's first word."""
    return script(START, *LOOP * repeats)


def nudging(**after: list[Step]) -> dict[str, list[Step]]:
    """Return a nudging model that writes the start, and these steps after two rounds of the loop."""
    return {"": say(START), START: say(" it", p=0.3), START + "".join(LOOP * 2): after["loop"]}


@RULES
def test_a_loop_ends_the_answer_if_the_nudging_model_ends_its_turn_within_a_proposal(rule: str) -> None:
    played = play(nudging(loop=say(" That", " is", " all.", end=True)), base(), rule=rule)
    assert played.text == START + "".join(LOOP * 2) + " That is all."
    assert played.finish_reason == "stop"
    assert played.authors[-1] == ("nudging", " That is all.")


@RULES
def test_otherwise_its_words_but_the_last_are_appended(rule: str) -> None:
    start = START + "".join(LOOP * 2)
    own = nudging(loop=say(" And", " so", " o")) | {start + " And so": say(end=True)}
    played = play(own, base() | {start + " And so": say(" um", p=0.01)}, rule=rule)
    assert played.text == start + " And so"


def test_the_fourth_loop_ends_the_answer() -> None:
    whole, own, its = "", {}, {}
    for _ in range(4):
        its |= {whole: say(*LOOP * 4)}
        whole += "".join(LOOP * 2)
        own |= {whole: say(" and", " on")}
        whole += " and"
    played = play(own, its, rule="bet")
    assert played.finish_reason == "loop"
    assert played.text == "".join(["".join(LOOP * 2) + " and"] * 3) + "".join(LOOP * 2)


@pytest.mark.parametrize("tokens", [[" a", " b", " c"] * 2, [" a"] * 7, [f" {number}" for number in range(8)]])
def test_shorter_and_other_repetitions_are_no_loops(tokens: list[str]) -> None:
    played = play({"".join(tokens): say(end=True)}, {"": [*say(*tokens), *say(" um", p=0.1)]}, rule="bet")
    assert (played.text, played.finish_reason) == ("".join(tokens), "stop")


def test_a_loop_is_also_noticed_among_tokens_that_were_checked() -> None:
    """Each token stands only because the nudging model is no more confident."""
    own = {"".join((LOOP * 2)[:length]): say(" x", p=0.2) for length in range(8)}
    played = play(own | {"".join(LOOP * 2): say(end=True)}, script(*LOOP * 4, p=0.3), rule="bet")
    assert (played.text, played.finish_reason) == ("".join(LOOP * 2), "stop")
