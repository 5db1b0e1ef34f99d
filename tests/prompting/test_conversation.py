"""A conversation -> base prompt and nudging prompt; what is none is refused before any model is touched."""

from typing import Any

import pytest
from nudging import ChatTemplateError, Nudger, PromptError, Prompts, ScriptedModel

MODEL = ScriptedModel("Hello")


def prompts(prompt: Any, **templates: str) -> Prompts:
    return Nudger(MODEL, MODEL, **templates).prompts(prompt)


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def test_one_turn_is_the_papers_prompt() -> None:
    rendered = prompts([turn("system", "Be brief."), turn("user", "Why?")])
    assert rendered == Prompts(base="Be brief.\nWhy?\n", nudging="system: Be brief.\nuser: Why?\nassistant: ")


def test_a_text_is_the_users_turn() -> None:
    assert prompts("Why?") == prompts([turn("user", "Why?")])


def test_a_chat_is_rendered_turn_by_turn() -> None:
    chat = [turn("user", "Hi"), turn("assistant", "Hello!"), turn("user", "Why?")]
    assert prompts(chat).base == "Hi\nHello!\nWhy?\n"


def test_neighbours_of_one_role_are_put_together() -> None:
    parts = [turn("user", "Hi"), turn("user", "Why?")]
    assert prompts(parts) == prompts("Hi\nWhy?")


def test_the_base_template_can_be_replaced() -> None:
    template = "{% for m in messages %}{{ m.role|upper }}: {{ m.content }}\n{% endfor %}ASSISTANT:"
    assert prompts("Why?", base_template=template).base == "USER: Why?\nASSISTANT:"


def test_the_callers_messages_are_left_alone() -> None:
    messages = [turn("user", "Hi"), turn("user", "Why?")]
    prompts(messages)
    assert messages == [turn("user", "Hi"), turn("user", "Why?")]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "the prompt is empty"),
        ([], "the prompt is empty"),
        ([turn("system", "Be brief."), turn("user", "")], "the prompt is empty"),
        ([turn("", "Why?")], "message 1 has the role ''"),
        ([turn("user", "Hi"), turn("wizard", "Why?")], "message 2 has the role 'wizard': choose from system, user"),
        ([{"content": "Why?"}], "message 1 has the role None"),
        ([{"role": ["user"], "content": "Why?"}], r"message 1 has the role \['user'\]"),
        ([{"role": "user"}], "the content of message 1 is missing"),
        ([{"role": "user", "content": None}], "the content of message 1 is missing"),
        ([{"role": "user", "content": 7}], "the content of message 1 is a int"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "the content of message 1 is a list .*only text"),
        ([{"role": "user", "content": "Hi", "tool_calls": []}], "message 1 has 'tool_calls'"),
        (["Why?"], "message 1 is a str"),
        (b"Why?", "not a bytes"),
        (7, "not a int"),
        (None, "not missing"),
        ({"role": "user", "content": "Why?"}, "not a dict"),
        ("half a \ud83d", "lone surrogate"),
        (Prompts(base="", nudging="Hi"), "the base prompt is empty"),
        (Prompts(base="Hi", nudging=""), "the nudging prompt is empty"),
        (Prompts(base=None, nudging="Hi"), "the base prompt is missing"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_conversation_is_refused_with_its_place_and_value(prompt: Any, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        prompts(prompt)


@pytest.mark.parametrize("template", ["{% for %}", "{{ nothing.there }}", "{{ raise_exception('no') }}"])
def test_a_base_template_that_fails_says_what_it_sees(template: str) -> None:
    with pytest.raises(ChatTemplateError, match="sees `messages`"):
        prompts("Why?", base_template=template)


def test_templates_run_in_a_sandbox() -> None:
    with pytest.raises(ChatTemplateError):
        prompts("Why?", base_template="{{ messages.__class__.__mro__ }}")


# tools

CALL = {"id": "x", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


def test_calls_and_their_answers_are_plain_text_to_a_base_model() -> None:
    chat = [
        turn("user", "1 + 2?"),
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "3", "tool_call_id": "x", "name": "add"},
    ]
    assert prompts(chat).base == (
        '1 + 2?\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>\n'
        "<tool_response>\n3\n</tool_response>\n"
    )


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        (
            [turn("user", "Hi"), {"role": "tool", "content": "3", "tool_call_id": "x"}],
            "message 2 answers the tool call",
        ),
        ([turn("user", "Hi"), {"role": "tool", "content": "3"}], "message 2 answers the tool call None"),
        ([{"role": "assistant", "content": "", "tool_calls": ["add"]}], "message 1 has the tool call 'add'"),
        (
            [{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": "{"}}]}],
            "message 1 calls 'add' with arguments that are not JSON",
        ),
        ([{"role": "user", "content": "Hi", "tool_calls": [CALL]}], "message 1 has 'tool_calls'"),
    ],
)
def test_calls_that_cannot_be_are_refused(chat: Any, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        prompts(chat)
