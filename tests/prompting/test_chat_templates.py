"""Chat templates are rendered as transformers renders them, which llama.cpp's models do without."""

from pathlib import Path
from typing import Any

import jinja2
import pytest
from nudging.prompting.templates import TODAY, render_chat
from transformers.utils.chat_template_utils import render_jinja_template

TEMPLATES = sorted((Path(__file__).parents[1] / "templates").glob("*.jinja"))
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "add",
        "description": 'Adds <two> numbers & says "ü"',
        "parameters": {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
    },
}
USER = {"role": "user", "content": "Why <b>&'ü'?"}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "id": "a12345678", "function": {"name": "add", "arguments": {"a": 1}}}],
}
CONVERSATIONS: list[list[dict[str, Any]]] = [
    [USER],
    [{"role": "system", "content": "Be brief."}, USER],
    [USER, {"role": "assistant", "content": "So."}, USER],
    [USER, CALL, {"role": "tool", "content": "2", "tool_call_id": "a12345678", "name": "add"}],
]
MARKED = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
    "{% else %}{{ m.content | tojson(indent=2) }}{% endif %}{% if loop.index == 2 %}{% break %}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize("tools", [[], [TOOL]], ids=["no tools", "tools"])
@pytest.mark.parametrize("messages", CONVERSATIONS)
@pytest.mark.parametrize("template", [*TEMPLATES, MARKED], ids=lambda one: getattr(one, "stem", "marked"))
def test_a_template_gives_the_text_that_transformers_makes_of_it(
    template: Path | str, messages: Any, tools: list[dict[str, Any]]
) -> None:
    source = template if isinstance(template, str) else template.read_text()
    try:
        (expected,), _ = render_jinja_template(
            conversations=[messages],
            tools=tools or None,
            chat_template=source,
            add_generation_prompt=True,
            date_string=TODAY,
            **SPECIAL,
        )
    except jinja2.TemplateError as error:
        with pytest.raises(type(error)):
            render_chat(source, messages, tools, SPECIAL)
    else:
        assert render_chat(source, messages, tools, SPECIAL) == expected
