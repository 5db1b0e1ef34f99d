"""The base template: it can be replaced, its errors are explained, and it runs in a sandbox."""

import pytest
from nudging import ChatTemplateError, Nudger, ScriptedModel

MODEL = ScriptedModel("Hello")


def base_prompt(prompt: str, template: str) -> str:
    return Nudger(MODEL, MODEL, base_template=template).prompts(prompt).base


def test_the_base_template_can_be_replaced() -> None:
    template = "{% for m in messages %}{{ m.role|upper }}: {{ m.content }}\n{% endfor %}ASSISTANT:"
    assert base_prompt("Why?", template) == "USER: Why?\nASSISTANT:"


@pytest.mark.parametrize("template", ["{% for %}", "{{ nothing.there }}", "{{ raise_exception('no') }}"])
def test_the_error_of_a_failing_base_template_says_what_it_gets(template: str) -> None:
    with pytest.raises(ChatTemplateError, match="a Jinja template of `messages`"):
        base_prompt("Why?", template)


def test_templates_run_in_a_sandbox() -> None:
    with pytest.raises(ChatTemplateError):
        base_prompt("Why?", "{{ messages.__class__.__mro__ }}")
