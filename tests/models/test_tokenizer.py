"""Tokenizers of transformers: chat templates, tools, and the tokenizer's own parser of calls."""

import json
import shutil
from pathlib import Path

import pytest
from nudging import ChatTemplateError, Nudger
from nudging.models.tokenizer import TransformersTokenizer
from nudging.tools.calls import ToolCall


def test_the_error_for_a_missing_chat_template_says_what_to_pass(tiny_base: Path) -> None:
    nudger = Nudger(base_model=tiny_base, nudging_model=tiny_base)
    with pytest.raises(ChatTemplateError, match="nudging_template="):
        nudger.generate("why")


def test_a_passed_template_replaces_the_models_own(tiny_base: Path) -> None:
    nudger = Nudger(tiny_base, tiny_base, nudging_template="{% for m in messages %}[{{ m.content }}]{% endfor %}")
    assert nudger.prompts("why").nudging == "[why]"


def test_a_template_without_a_system_role_gets_the_system_text_with_the_first_question(
    tiny_nudging: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_nudging, tmp_path / "no-system")
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    dropping = "{% for m in messages if m.role != 'system' %}<{{ m.content }}>{% endfor %}"
    for template in [refusing + dropping, dropping]:
        set_template(folder, template)
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "why"}]
        assert TransformersTokenizer(folder).render(messages) == "<Be brief.\nwhy>"


def test_the_error_of_a_failing_template_names_the_roles(tiny_nudging: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_nudging, tmp_path / "failing")
    set_template(folder, "{{ raise_exception('roles must alternate') }}")
    with pytest.raises(ChatTemplateError, match=r"roles assistant, user: roles must alternate"):
        TransformersTokenizer(folder).render([{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}])


def set_template(folder: Path, template: str) -> None:
    (folder / "chat_template.jinja").write_text(template)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


# tools


ADD = {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": {"type": "object"}}}
CALLED = [
    {"role": "user", "content": "1 + 2, add?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "x", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}],
    },
    {"role": "tool", "content": "three", "tool_call_id": "x"},
]
TOOL_TEMPLATE = (
    "{% for t in tools or [] %}<tool>{{ t.function.name }}{% endfor %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function | tojson }}{% endfor %}{% endfor %}<|assistant|>"
)


def test_a_template_with_tools_renders_them_itself(tiny_nudging: Path) -> None:
    text = TransformersTokenizer(tiny_nudging).render(CALLED, TOOL_TEMPLATE, [ADD])
    assert text.startswith("<tool>add<|user|>")
    assert '<call>{"name": "add", "arguments": {"a": 1}}' in text
    assert "<|tool|>three" in text


def test_a_template_without_tools_gets_them_as_text(tiny_nudging: Path) -> None:
    tokenizer = TransformersTokenizer(tiny_nudging)
    assert "You may call one or more functions" in tokenizer.render(CALLED[:1], tools=[ADD])
    text = tokenizer.render(CALLED, tools=[ADD])
    assert '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>' in text
    assert "<|user|><tool_response>\nthree\n</tool_response>" in text


def test_the_tokenizers_own_parser_reads_calls(tiny_nudging: Path) -> None:
    pytest.importorskip("transformers", minversion="5.13")  # older ones have no response_template
    tokenizer = TransformersTokenizer(tiny_nudging)
    text = 'Well. <<add|{"a": 1}>>'
    assert tokenizer.parse(text, "<|assistant|>", [ADD]) is None
    tokenizer.loaded.response_template = {
        "defaults": {"role": "assistant"},
        "start_anchor": "<|assistant|>",
        "fields": {
            "content": {},
            "tool_calls": {
                "open_pattern": r"<<(?P<name>\w+)\|",
                "close": ">>",
                "content": "json",
                "repeats": True,
                "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
            },
        },
    }
    parsed = tokenizer.parse(text, "<|assistant|>", [ADD])
    assert parsed is not None
    assert parsed.tool_calls == (ToolCall("add", {"a": 1}),)
    assert parsed.content.strip() == "Well."
    assert tokenizer.parse("Well.", "<|assistant|>", [ADD]) is None
    assert tokenizer.parse("<<add|{oops>>", "<|assistant|>", [ADD]) is None
