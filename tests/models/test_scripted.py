"""The model without weights that ships with the package."""

import doctest
import json

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


COUNTRY = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name", "people"],
}
PERU = {"name": "Perú", "people": 34}


@pytest.mark.parametrize(
    "script",
    [
        json.dumps(PERU),
        json.dumps(PERU, ensure_ascii=False),
        json.dumps(PERU, separators=(",", ":")),
        json.dumps(PERU, indent=2),
        f"\n  {json.dumps(PERU)} \n\n",
    ],
)
def test_a_script_in_json_may_have_any_white_space(script: str) -> None:
    model = ScriptedModel(script)
    answer = Nudger(model, model).generate("Tell me", schema=COUNTRY)
    assert json.loads(answer.text) == PERU
    assert answer.finish_reason == "stop"


@pytest.mark.parametrize(
    ("script", "text", "finish_reason"),
    [
        ('{"name": "Peru", "people": 34} I hope that helps!', '{"name": "Peru", "people": 34}', "stop"),
        ('{"name": "Peru", "people": 34 million}', '{"name": "Peru", "people": 34}', "length"),
        ('{"name": "Peru", "people": many}', '{"name": "Peru", "people": 0}', "length"),
        ('{"name": "Peru and more', '{"name": "Peru and more", "people": 0}', "stop"),
    ],
)
def test_as_much_of_a_script_is_written_as_a_grammar_allows(script: str, text: str, finish_reason: str) -> None:
    for base in (ScriptedModel(script), ScriptedModel("", probability=0)):
        answer = Nudger(base, ScriptedModel(script)).generate("Tell me", schema=COUNTRY)
        assert (answer.text, answer.finish_reason) == (text, finish_reason)


def test_a_script_follows_a_regex_as_far_as_it_can() -> None:
    model = ScriptedModel("12:34:56")
    assert Nudger(model, model).generate("When?", regex=r"\d\d:\d\d").text == "12:34"


def test_steps_of_a_function_follow_a_grammar_too() -> None:
    def write(prompt: str, text: str) -> list[Step]:
        return [Step("12:34 sharp", 1.0)] if not text else []

    assert (
        Nudger(ScriptedModel("", probability=0), ScriptedModel(write)).generate("?", regex=r"\d\d:\d\d").text == "12:34"
    )
