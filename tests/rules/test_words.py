"""The rule of docs/rule.md against tables of steps, without a model."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nudging.step import Step
from played import END, play, say, unsure

# 1. proposal


def test_a_proposal_that_ends_the_turn_ends_the_answer() -> None:
    played = play({"": say("Paris", " it", " is.", end=True)})
    assert (played.text, played.finish_reason) == ("Paris it is.", "stop")
    assert played.asked == [("nudging", "")]


def test_an_empty_proposal_that_ends_the_turn_ends_the_answer() -> None:
    assert play({"": say(end=True)}).finish_reason == "stop"


# 2. words and prefetching


@pytest.mark.parametrize(
    ("proposal", "expected"),
    [
        (["Sure"], []),
        (["Sure", " "], []),
        (["Sure", " ", "it is"], ["Sure"]),
        (["  Sure", "  ", "it"], ["  Sure "]),
        (["Sure it", " is"], ["Sure"]),
        ([" "], []),
    ],
)
def test_the_first_boundary_is_prefetched_once_a_word_follows_it(proposal: list[str], expected: list[str]) -> None:
    played = play({"": say(*proposal, end=True)})
    assert played.prefetched == expected


def test_the_prefetched_text_is_asked_for_unless_the_turn_ends() -> None:
    played = play(
        {"": say("So", " it", " is"), "So it": say(" done", " now", end=True)},
        {"So": unsure(), "So it": unsure()},
    )
    assert [(author, text) for author, text in played.asked if author == "base"][:1] == [("base", "So")]
    assert played.prefetched == ["So", "So it done"]


def test_a_proposal_of_one_word_is_appended_whole_and_a_new_round_starts() -> None:
    played = play({"": say(" Sure\n"), " Sure\n": say("it is", end=True)})
    assert played.authors == [("nudging", " Sure\n"), ("nudging", "it is")]
    assert [piece.round for piece in played.pieces] == [0, 1]


def test_leading_spaces_belong_to_the_first_word() -> None:
    played = play({"": say("  To begin with"), "  To big": say(end=True)}, {"  To": [*say(" big"), *unsure()]})
    assert played.authors == [("nudging", "  To"), ("base", " big")]


def test_a_newline_stays_inside_its_word() -> None:
    played = play({"": say("First,\nwe go"), "First,\nwe so": say(end=True)}, {"First,\nwe": [*say(" so"), *unsure()]})
    assert played.authors == [("nudging", "First,\nwe"), ("base", " so")]


def test_two_spaces_in_a_row_are_one_boundary() -> None:
    nudging = {"": say("One  two three"), "One ": say(end=True), "One  two so": say(end=True)}
    played = play(nudging, {"One ": unsure(), "One  two": [*say(" so"), *unsure()]})
    assert ("base", "One") not in played.asked
    assert played.text == "One  two so"


# 3. handover


@pytest.mark.parametrize(
    ("probability", "token", "hands_over"),
    [
        (0.4, " x", True),  # at the threshold
        (0.39, " x", False),
        (0.1, " two", True),  # agreement with the next word
        (0.1, " tw", True),  # agreement with its start
        (0.1, " ", True),
        (0.1, "two", False),  # the space before a word is part of it
        (0.1, " two three", False),  # longer than the word
        (0.1, "", True),  # an unfinished character agrees with anything
    ],
)
def test_the_base_model_takes_over_where_it_is_sure_or_agrees(probability: float, token: str, hands_over: bool) -> None:
    ended = {f"One{token}": END, "One": END, "One two": END}
    played = play(
        {"": say("One two three"), **ended}, {"One": [Step(token, probability), *unsure()], "One two": unsure()}
    )
    assert (("base", "One two") not in played.asked) == hands_over


def test_the_nudging_words_are_those_before_the_boundary_where_the_base_model_takes_over() -> None:
    base = {"a": unsure(), "a b": unsure(), "a b c": [*say(" sure"), *unsure()]}
    played = play({"": say("a b c d e"), "a b c sure": END}, base)
    assert played.authors == [("nudging", "a b c"), ("base", " sure")]


def test_without_a_handover_all_words_but_the_last_are_appended() -> None:
    played = play({"": say("a b c"), "a b": END}, {"a": unsure(), "a b": unsure()})
    assert played.authors == [("nudging", "a b")]


# 4. base run


def test_a_run_continues_while_the_base_model_is_sure_and_drops_the_first_token_below_the_threshold() -> None:
    run = [Step(" b", 0.9), Step(" c", 0.4), Step(" d", 0.39), Step(" e", 0.9)]
    played = play({"": say("a x y"), "a b c": END}, {"a": run})
    assert played.authors == [("nudging", "a"), ("base", " b"), ("base", " c")]


def test_the_end_token_of_the_base_model_ends_its_run_and_not_the_answer() -> None:
    played = play({"": say("a x y"), "a b": say(" go", " on", end=True)}, {"a": say(" b", end=True)})
    assert (played.text, played.finish_reason) == ("a b go on", "stop")


def test_an_end_token_of_the_base_model_at_the_handover_makes_an_empty_run() -> None:
    played = play({"": say("a x y"), "a": say(" c", end=True)}, {"a": [Step("", 0.1, end=True)]})
    assert played.authors == [("nudging", "a"), ("nudging", " c")]


def test_a_run_continues_in_chunks_of_sixteen_tokens() -> None:
    first = [f" {number}" for number in range(16)]
    second = [f" {number}" for number in range(16, 20)]
    text = "a" + "".join(first)
    played = play(
        {"": say("a x y"), text + "".join(second): END},
        {"a": say(*first), text: [*say(*second), *unsure()]},
        max_tokens=1000,
    )
    assert played.text == text + "".join(second)
    assert [asked for asked in played.asked if asked[0] == "base"] == [("base", "a"), ("base", text)]


# 5. loop guards


def test_a_chunk_that_the_run_already_contains_ends_it() -> None:
    chunk = [" la"] * 16
    text = "a" + "".join(chunk)
    played = play({"": say("a x y"), text: END}, {"a": say(*chunk), text: say(*chunk)})
    assert played.text == text  # the first chunk's fifteen tokens are not in the run of one token before them


@pytest.mark.parametrize(("last", "ends"), [(" 14", True), (" new", False)])
def test_the_guards_also_look_at_tokens_that_were_not_accepted(last: str, ends: bool) -> None:
    first = [" la", *(f" {n}" for n in range(15))]
    text = "a" + "".join(first)
    again = [*say(" 11", " 12", " 13"), Step(last, 0.1), Step("", 0.9, end=True)]
    played = play(
        {"": say("a x y"), text: END, f"{text} 11 12 13": END}, {"a": say(*first), text: again}, max_tokens=1000
    )
    assert played.text == (text if ends else f"{text} 11 12 13")  # three words are too few for the other guard


def test_a_chunk_of_up_to_five_words_may_repeat_the_answer() -> None:
    played = play(
        {"": say("on we go , a x"), "on we go , on we go": END},
        {
            "on": unsure(),
            "on we": unsure(),
            "on we go": unsure(),
            "on we go ,": [*say(" on", " we", " go"), *unsure()],
        },
    )
    assert played.text == "on we go , on we go"


def test_a_chunk_of_more_than_five_words_that_the_answer_contains_ends_the_run() -> None:
    line = " one two three four five six"
    nudging = {"": say(f"So{line} so x"), f"So{line} so well": END}
    words = f"So{line} so".split(" ")
    base = {" ".join(words[:n]): unsure() for n in range(1, len(words))}
    base[f"So{line} so"] = [*say(" well", *(f" {word}" for word in line.split())), *unsure()]
    assert play(nudging, base).text == f"So{line} so well"


def test_an_empty_chunk_ends_the_run() -> None:
    tokens = [f" {number}" for number in range(16)]
    text = "a" + "".join(tokens)
    played = play({"": say("a x y"), text: END}, {"a": say(*tokens), text: say(end=True)})
    assert (played.text, played.finish_reason) == (text, "stop")


def test_the_same_nudging_words_in_four_rounds_end_the_answer_and_are_dropped() -> None:
    words = [" a", " a a", " a a a"]
    played = play({text: say(" a") for text in ["", *words]})
    assert (played.text, played.finish_reason) == (" a a a", "loop")


# 6. budget


@pytest.mark.parametrize("max_tokens", range(1, 17))
def test_the_budget_cuts_nudging_words_and_base_tokens(max_tokens: int) -> None:
    nudging = {"": say("abc x y"), "abcdefg": say("hijk x y"), "abcdefghijklmnop": END}
    base = {"abc": [*say("d", "e", "f", "g"), *unsure()], "abcdefghijk": [*say("l", "m", "n", "o", "p"), *unsure()]}
    played = play(nudging, base, max_tokens=max_tokens)
    assert played.text == "abcdefghijklmnop"[:max_tokens]
    assert played.finish_reason == "length"


def test_the_budget_cuts_the_last_words_of_a_turn() -> None:
    played = play({"": say("tuvw", end=True)}, max_tokens=3)
    assert (played.text, played.finish_reason) == ("tuv", "length")


def test_a_full_context_ends_the_answer_and_keeps_the_words_before_it() -> None:
    assert play({"": []}).finish_reason == "length"
    played = play({"": say("a b c")}, {"a": []})
    assert (played.text, played.finish_reason) == ("a", "length")


# stop strings

STORY = {"": say("Once upon a time")}
STORY_BASE = {"Once": [*say(" there", " was", ".", " The", " E", "nd", ".", " More"), *unsure()]}


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ([" The End"], "Once there was."),  # across tokens
        (["End.", "was"], "Once there "),  # the one that comes first
        (["Once"], ""),
        (["nce th"], "O"),  # across authors
        (["."], "Once there was"),
    ],
)
def test_a_stop_string_ends_the_answer_and_is_not_part_of_it(stop: list[str], text: str) -> None:
    played = play(STORY, STORY_BASE, stop=stop)
    assert (played.text, played.finish_reason) == (text, "stop")


def test_text_that_only_starts_like_a_stop_string_is_not_lost() -> None:
    nudging = {**STORY, "Once there was. The End. More": END}
    assert play(nudging, STORY_BASE, stop=["The End?"]).text == "Once there was. The End. More"


# random steps

words = st.text(alphabet="ab \n", max_size=4)
steps = st.lists(st.builds(Step, words, st.floats(0, 1), st.sampled_from([False, False, False, True])), max_size=16)


class SameEverywhere(dict):
    """A table with the same steps after any text."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps

    def __contains__(self, text: object) -> bool:
        return True

    def __getitem__(self, text: str) -> Sequence[Step]:
        return self._steps


@given(steps, steps, st.floats(0, 1), st.integers(1, 60))
def test_every_answer_ends_within_its_budget(
    nudging: list[Step], base: list[Step], threshold: float, max_tokens: int
) -> None:
    played = play(SameEverywhere(nudging), SameEverywhere(base), threshold=threshold, max_tokens=max_tokens)
    assert played.finish_reason in {"stop", "length", "loop"}
    assert all(piece.text for piece in played.pieces)
    assert sum(piece.tokens for piece in played.pieces) <= max_tokens


@given(steps, steps, st.floats(0, 1), st.text(alphabet="ab \n", min_size=1, max_size=3))
def test_the_answer_ends_before_the_first_stop_string(
    nudging: list[Step], base: list[Step], threshold: float, stop: str
) -> None:
    whole = play(SameEverywhere(nudging), SameEverywhere(base), threshold=threshold)
    cut = play(SameEverywhere(nudging), SameEverywhere(base), threshold=threshold, stop=[stop])
    assert cut.text == whole.text.split(stop)[0] or (stop not in whole.text and cut.text == whole.text)
