"""The blend of both distributions, against tables of steps."""

from collections import Counter

import pytest
from nudging.rules.blend import blended
from nudging.settings import Settings
from nudging.step import Alternative, Step
from played import play, say

GREEDY = Settings()


def step(**probabilities: float) -> Step:
    """Return a step with these alternatives: `end` is the end of the turn, `_` is a part of a character."""
    texts = {"end": "", "_": ""}
    listed = tuple(Alternative(texts.get(name, name), p, name == "end") for name, p in probabilities.items())
    top = max(probabilities, key=lambda name: probabilities[name])
    return Step(texts.get(top, top), probabilities[top], top == "end", alternatives=listed)


@pytest.mark.parametrize(
    ("base", "nudging", "expected"),
    [
        ({"a": 0.3, "b": 0.2}, {"b": 0.3, "c": 0.2}, ("b", "nudging")),  # both like b
        ({"a": 0.35, "b": 0.1}, {"c": 0.2, "d": 0.2}, ("a", "base")),  # the weight follows the confidence
        ({"a": 0.1, "b": 0.1}, {"c": 0.9}, ("c", "nudging")),
        ({"a": 0.3, "b": 0.25}, {"b": 0.1, "c": 0.1}, ("a", "base")),
        ({"end": 0.39, "a": 0.1}, {"b": 0.2}, ("b", "nudging")),  # only the nudging model ends an answer
        ({"a": 0.2}, {"end": 0.5, "b": 0.1}, (None, "nudging")),
        ({"_": 0.3, "a": 0.1}, {"_": 0.3, "a": 0.2}, ("a", "nudging")),
    ],
)
def test_the_most_probable_text_of_both_is_chosen(
    base: dict[str, float], nudging: dict[str, float], expected: tuple[str | None, str]
) -> None:
    assert blended(step(**base), step(**nudging), GREEDY, 0) == expected


def test_without_a_whole_character_there_is_no_blend() -> None:
    assert blended(step(_=0.3), step(_=0.9), GREEDY, 0) is None


def test_the_weight_of_the_source() -> None:
    """α = 0.3 / (0.2 + 0.3) + 0.1 · 0.1 = 0.61, so b gets 0.61 · 0.3 + 0.39 · 0.1 = 0.222, and a 0.078 + 0.61 q(a)."""
    assert blended(step(a=0.2, b=0.1), step(b=0.3, a=0.24), GREEDY, 0) == ("a", "nudging")
    assert blended(step(a=0.2, b=0.1), step(b=0.3, a=0.23), GREEDY, 0) == ("b", "nudging")


def test_a_sample_depends_on_seed_and_position_only() -> None:
    hot = Settings(temperature=1.0, seed=3)
    pair = step(a=0.3, b=0.3), step(c=0.3, d=0.3)
    assert [blended(*pair, hot, at) for at in range(40)] == [blended(*pair, hot, at) for at in range(40)]
    drawn = Counter(found.text for at in range(400) if (found := blended(*pair, hot, at)))
    assert set(drawn) == set("abcd")
    assert min(drawn.values()) > 60


def test_a_nucleus_leaves_out_improbable_texts() -> None:
    hot = Settings(temperature=1.0, top_p=0.5, seed=3)
    drawn = {blended(step(a=0.3, b=0.1), step(a=0.3, c=0.1), hot, at) for at in range(50)}
    assert {found.text for found in drawn if found} == {"a"}


def test_the_base_model_writes_where_it_is_sure() -> None:
    end = Step("", 0.9, end=True, alternatives=(Alternative("", 0.9, end=True),))
    played = play({"It": [end]}, {"": [*say("It"), step(um=0.1)]}, rule="blend")
    assert played.authors == [("base", "It")]


def test_another_token_of_the_base_model_is_the_base_models_piece() -> None:
    end = Step("", 0.9, end=True, alternatives=(Alternative("", 0.9, end=True),))
    its = {"": [step(a=0.3, b=0.28)], "b": [step(um=0.1)]}
    played = play({"": [step(c=0.1, b=0.09)], "b": [end]}, its, rule="blend")
    assert played.authors == [("base", "b")]
