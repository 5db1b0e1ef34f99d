"""The model without weights that ships with the package."""

import doctest

import nudging.models.scripted
import pytest
from nudging import ContextLengthError, Nudger, ScriptedModel, Step


def test_the_examples_of_the_docstring_run() -> None:
    assert doctest.testmod(nudging.models.scripted).failed == 0


def test_the_answer_of_two_models_with_one_script_is_the_script() -> None:
    text = "Once upon a time, there was a  model\nwithout weights. " * 5
    model = ScriptedModel(text)
    answer = Nudger(model, model).generate("Tell me")
    assert answer.text == text
    assert {piece.author for piece in answer.pieces} == {"base", "nudging"}


def test_a_base_model_that_is_never_sure_writes_nothing() -> None:
    text = "one two three four five six seven eight nine ten " * 3
    answer = Nudger(ScriptedModel("", probability=0.0), ScriptedModel(text)).generate("Count")
    assert answer.text == text
    assert answer.nudge_ratio == 1


def test_a_script_may_depend_on_prompt_and_text() -> None:
    def echo(prompt: str, text: str) -> list[Step]:
        return [Step(prompt.upper(), 1.0), Step("", 1.0, end=True)]

    assert Nudger(ScriptedModel(""), ScriptedModel(echo)).generate("Hi").text == "USER: HI\nASSISTANT: "


def test_the_context_length_can_be_set() -> None:
    short = ScriptedModel("one two three", context_length=6)
    assert Nudger(short, short).generate("Hi").finish_reason == "length"
    with pytest.raises(ContextLengthError, match="has a context of 6"):
        Nudger(short, short).generate("a b c d e f")
