"""A conversation becomes a base prompt and a nudging prompt. Malformed ones are refused before a model is used."""

from typing import Any

import pytest
from nudging import Nudger, PromptError, Prompts, ScriptedModel

MODEL = ScriptedModel("Hello")


def prompts(prompt: Any) -> Prompts:
    return Nudger(MODEL, MODEL).prompts(prompt)


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def test_one_question_becomes_the_papers_prompt() -> None:
    rendered = prompts([message("system", "Be brief."), message("user", "Why?")])
    assert rendered == Prompts(base="Be brief.\nWhy?\n", nudging="system: Be brief.\nuser: Why?\nassistant: ")


def test_a_text_is_a_message_of_the_user() -> None:
    assert prompts("Why?") == prompts([message("user", "Why?")])


def test_a_chat_is_rendered_message_by_message() -> None:
    chat = [message("user", "Hi"), message("assistant", "Hello!"), message("user", "Why?")]
    assert prompts(chat).base == "Hi\nHello!\nWhy?\n"


def test_neighbouring_messages_of_one_role_are_merged() -> None:
    parts = [message("user", "Hi"), message("user", "Why?")]
    assert prompts(parts) == prompts("Hi\nWhy?")


def test_the_callers_messages_are_not_modified() -> None:
    messages = [message("user", "Hi"), message("user", "Why?")]
    prompts(messages)
    assert messages == [message("user", "Hi"), message("user", "Why?")]


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        ("", "the prompt is empty"),
        ([], "the prompt is empty"),
        ([message("system", "Be brief."), message("user", "")], "the prompt is empty"),
        ([message("", "Why?")], "message 1 has the role ''"),
        (
            [message("user", "Hi"), message("wizard", "Why?")],
            "message 2 has the role 'wizard': choose from system, user",
        ),
        ([{"content": "Why?"}], "message 1 has the role None"),
        ([{"role": ["user"], "content": "Why?"}], r"message 1 has the role \['user'\]"),
        ([{"role": "user"}], "the content of message 1 is missing"),
        ([{"role": "user", "content": None}], "the content of message 1 is missing"),
        ([{"role": "user", "content": 7}], "the content of message 1 is a int"),
        (
            [{"role": "user", "content": [{"type": "image_url"}]}],
            "the content of message 1 is a list .*pass text as a string",
        ),
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
def test_the_error_for_a_malformed_conversation_names_the_place_and_the_value(prompt: Any, error: str) -> None:
    with pytest.raises(PromptError, match=error):
        prompts(prompt)


# tools


CALL = {"id": "x", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


def test_calls_and_their_results_are_plain_text_in_a_base_prompt() -> None:
    chat = [
        message("user", "1 + 2?"),
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "3", "tool_call_id": "x", "name": "add"},
    ]
    assert prompts(chat).base == (
        '1 + 2?\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>\n'
        "<tool_response>\n3\n</tool_response>\n"
    )


@pytest.mark.parametrize(
    ("chat", "error"),
    [
        (
            [message("user", "Hi"), {"role": "tool", "content": "3", "tool_call_id": "x"}],
            "message 2 answers the tool call",
        ),
        ([message("user", "Hi"), {"role": "tool", "content": "3"}], "message 2 answers the tool call None"),
        ([{"role": "assistant", "content": "", "tool_calls": ["add"]}], "message 1 has the tool call 'add'"),
        (
            [{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": "{"}}]}],
            "message 1 calls 'add' with arguments that are not JSON",
        ),
        ([{"role": "user", "content": "Hi", "tool_calls": [CALL]}], "message 1 has 'tool_calls'"),
    ],
)
def test_malformed_calls_are_refused(chat: Any, error: str) -> None:
    with pytest.raises(PromptError, match=error):
        prompts(chat)
