"""The model without weights that ships with the package."""

import doctest

import nudging.models.scripted
import pytest
from nudging import ContextLengthError, Nudger, ScriptedModel, Step


def test_its_docstring_is_true() -> None:
    assert doctest.testmod(nudging.models.scripted).failed == 0


def test_one_script_for_both_models_is_the_answer() -> None:
    text = "Once upon a time, there was a  model\nwithout weights. " * 5
    model = ScriptedModel(text)
    answer = Nudger(model, model).generate("Tell me")
    assert answer.text == text
    assert {piece.author for piece in answer.pieces} == {"base", "nudging"}


def test_an_unsure_base_model_leaves_the_pen() -> None:
    text = "one two three four five six seven eight nine ten " * 3
    answer = Nudger(ScriptedModel("", probability=0.0), ScriptedModel(text)).generate("Count")
    assert answer.text == text
    assert answer.nudge_ratio == 1


def test_a_script_may_depend_on_prompt_and_text() -> None:
    def echo(prompt: str, text: str) -> list[Step]:
        return [Step(prompt.upper(), 1.0), Step("", 1.0, end=True)]

    assert Nudger(ScriptedModel(""), ScriptedModel(echo)).generate("Hi").text == "USER: HI\nASSISTANT: "


def test_its_context_can_be_short() -> None:
    short = ScriptedModel("one two three", context_length=6)
    assert Nudger(short, short).generate("Hi").finish_reason == "length"
    with pytest.raises(ContextLengthError, match="has a context of 6"):
        Nudger(short, short).generate("a b c d e f")
