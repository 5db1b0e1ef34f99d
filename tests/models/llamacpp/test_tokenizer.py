"""The tokenizer of a GGUF file, and its chat templates."""

from pathlib import Path

import pytest
from nudging import ChatTemplateError, Nudger, ScriptedModel
from nudging.models.llamacpp.model import LlamaCppModel
from tiny import CHAT_TEMPLATE
from tiny_gguf import OTHER, llama_gguf

USER = {"role": "user", "content": "Why?"}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
TOOL_TEMPLATE = "{% for tool in tools %}[{{ tool['function']['name'] }}]{% endfor %}" + CHAT_TEMPLATE


def test_a_text_gets_one_bos(files: dict[str, Path]) -> None:
    tokenizer = LlamaCppModel(files["base"]).tokenizer
    bos = tokenizer.vocabulary().bos
    plain = tokenizer.encode("blue whales", special_tokens=False)
    assert bos not in plain
    assert tokenizer.encode("blue whales", special_tokens=True) == [bos, *plain]
    assert tokenizer.encode("<start>blue whales", special_tokens=True) == [bos, *plain]
    assert tokenizer.encode("", special_tokens=True) == [bos]


def test_a_text_gets_no_bos_if_the_file_says_so(tmp_path: Path, files: dict[str, Path]) -> None:
    path = llama_gguf(tmp_path / "none.gguf", vocabulary=OTHER, edit=lambda writer: set_adds_bos(writer, False))
    for file in (path, files["llama"]):
        tokenizer = LlamaCppModel(file).tokenizer
        assert tokenizer.encode("blue", special_tokens=True) == tokenizer.encode("blue", special_tokens=False)


def set_adds_bos(writer: object, value: bool) -> None:
    for data in writer.kv_data:  # type: ignore[attr-defined]
        data["tokenizer.ggml.add_bos_token"].value = value


def test_a_prompt_is_rendered_by_the_template_of_the_file(files: dict[str, Path]) -> None:
    tokenizer = LlamaCppModel(files["llama"]).tokenizer
    assert tokenizer.render([USER]) == "<|user|>Why?\n<|assistant|>"
    assert tokenizer.render([USER], "{{ messages[0]['content'] }}!") == "Why?!"


def test_a_template_sees_the_special_tokens(tmp_path: Path) -> None:
    path = llama_gguf(tmp_path / "bos.gguf", vocabulary=OTHER, templates="{{ bos_token }}{{ eos_token }}")
    assert LlamaCppModel(path).tokenizer.render([USER]) == "<start><end>"


def test_a_file_without_a_template_is_refused_and_the_message_says_what_to_do(files: dict[str, Path]) -> None:
    model = LlamaCppModel(files["base"])
    with pytest.raises(ChatTemplateError, match=r"base\.gguf has no chat template: pass nudging_template='…'"):
        model.tokenizer.render([USER])
    nudger = Nudger(ScriptedModel("Hi"), model, nudging_template="Q: {{ messages[0]['content'] }}\nA:")
    assert nudger.prompts("Why?").nudging == "Q: Why?\nA:"


def test_a_template_for_tools_is_used_if_there_are_tools(tmp_path: Path) -> None:
    templates = {"default": CHAT_TEMPLATE, "tool_use": TOOL_TEMPLATE}
    tokenizer = LlamaCppModel(llama_gguf(tmp_path / "tools.gguf", templates=templates)).tokenizer
    assert tokenizer.render([USER]) == "<|user|>Why?\n<|assistant|>"
    assert tokenizer.render([USER], tools=[TOOL]) == "[add]<|user|>Why?\n<|assistant|>"


def test_tools_are_described_in_the_system_message_if_the_template_has_no_place_for_them(
    files: dict[str, Path],
) -> None:
    prompt = LlamaCppModel(files["llama"]).tokenizer.render([USER], tools=[TOOL])
    assert prompt.startswith("<|system|>")
    assert '"name": "add"' in prompt
