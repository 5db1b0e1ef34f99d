"""The names of speakers: in a prompt whose template shows them, and in no other."""

from typing import Any

import pytest
from nudging import ChatTemplateError, Nudger, ScriptedModel
from nudging.prompting.conversation import Message
from nudging.prompting.names import rendered
from nudging.prompting.templates import render_chat

MODEL = ScriptedModel("Hello")
ANN: Message = {"role": "user", "name": "Ann", "content": "Hi"}
BEN: Message = {"role": "user", "name": "Ben", "content": "Hello"}
RESULT: Message = {"role": "tool", "name": "add", "content": "3"}

WITH_NAMES = "{% for m in messages %}{{ m.name or m.role }}: {{ m.content }}\n{% endfor %}"


def shown(template: str, *messages: Message) -> str:
    return rendered(messages, lambda turns: render_chat(template, turns, (), {}))


def test_a_template_with_names_shows_every_speaker() -> None:
    assert shown(WITH_NAMES, ANN, BEN) == "Ann: Hi\nBen: Hello\n"
    assert shown(WITH_NAMES, ANN, {"role": "user", "content": "Hello"}) == "Ann: Hi\nuser: Hello\n"


def test_a_template_without_names_gets_neighbours_as_one_message() -> None:
    alternating = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    assert shown(alternating, ANN, BEN) == "user: Hi\nHello\n"


def test_names_never_break_a_template_that_wants_roles_to_alternate() -> None:
    def strict(turns: Any) -> str:
        if [turn["role"] for turn in turns] != ["user"]:
            raise ChatTemplateError("roles must alternate")
        return str(turns[0]["content"])

    assert rendered([ANN, BEN], strict) == "Hi\nHello"


def test_the_name_of_a_tool_stays() -> None:
    assert shown(WITH_NAMES, {"role": "user", "content": "Hi"}, RESULT) == "user: Hi\nadd: 3\n"


@pytest.mark.parametrize("name", [None, "", 5])
def test_what_is_no_name_is_ignored(name: Any) -> None:
    assert Nudger(MODEL, MODEL).prompts([{**ANN, "name": name}]) == Nudger(MODEL, MODEL).prompts("Hi")


def test_both_prompts_show_names_if_their_templates_do() -> None:
    prompts = Nudger(MODEL, MODEL, base_template=WITH_NAMES, nudging_template=WITH_NAMES).prompts([ANN, BEN])
    assert prompts.base == prompts.nudging == "Ann: Hi\nBen: Hello\n"
    assert "Ann" not in str(Nudger(MODEL, MODEL).prompts([ANN, BEN]))
