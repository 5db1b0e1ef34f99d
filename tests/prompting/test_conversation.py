"""A conversation becomes a base prompt and a nudging prompt. A history of any origin is understood."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nudging import Nudger, PromptError, Prompts, ScriptedModel
from nudging._logging import log_once
from nudging.prompting.conversation import OTHER_ROLES, ROLES, check_prompt

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
        ([{"role": "user"}], "the prompt is empty"),
        ([{"role": "user", "content": None}], "the prompt is empty"),
        ([{"role": "user", "content": 7}], "the content of message 1 is a int"),
        (
            [{"role": "user", "content": [{"type": "image_url"}]}],
            "message 1 has content of type 'image_url': only text is supported",
        ),
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


# histories of any origin


RESULT = {"role": "tool", "content": "3", "tool_call_id": "x"}
SHOWN_RESULT = {"role": "user", "content": "<tool_response>\n3\n</tool_response>"}


def called(**call: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [CALL | call]}


def turns(*messages: Any) -> list[Any]:
    """Return the conversation after a question, without the question."""
    checked = check_prompt([message("user", "1 + 2?"), message("assistant", "Well."), *messages])
    assert isinstance(checked, list)
    return checked[2:]


def test_a_result_answers_its_call() -> None:
    call = {"id": "x", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    assert turns(called(), RESULT) == [{"role": "assistant", "content": "", "tool_calls": [call]}, RESULT]


@pytest.mark.parametrize("result", [RESULT, {"role": "tool", "content": "3"}, {"role": "function", "content": "3"}])
def test_a_result_without_its_call_is_text_of_the_user(result: Any, caplog: pytest.LogCaptureFixture) -> None:
    log_once.cache_clear()
    assert turns(result) == [SHOWN_RESULT]
    assert turns(result, message("user", "So?")) == [message("user", SHOWN_RESULT["content"] + "\nSo?")]
    assert [record.getMessage() for record in caplog.records] == [
        "a tool message that answers no earlier call is shown to the models as text of the user"
    ]


def test_a_result_before_its_call_is_text_of_the_user() -> None:
    assert [turn["role"] for turn in turns(RESULT, called())] == ["user", "assistant"]


def test_results_may_come_in_any_order() -> None:
    two = called() | {"tool_calls": [CALL, CALL | {"id": "y"}]}
    results = [RESULT | {"tool_call_id": "y"}, RESULT]
    assert turns(two, *results)[1:] == results


def test_a_call_without_an_id_is_answered_by_the_next_result_of_its_tool() -> None:
    multiply = {"function": {"name": "multiply", "arguments": "{}"}}
    two = called() | {"tool_calls": [multiply, CALL | {"id": None}]}
    call, *results = turns(two, {"role": "tool", "name": "add", "content": "3"}, {"role": "tool", "content": "2"})
    ids = {call["function"]["name"]: call["id"] for call in call["tool_calls"]}
    assert [result["tool_call_id"] for result in results] == [ids["add"], ids["multiply"]]
    assert turns(called(id=""), RESULT)[1]["role"] == "tool"  # the id was lost in the call only


def test_two_calls_may_have_the_same_id() -> None:
    two = called() | {"tool_calls": [CALL, CALL]}
    assert [turn["role"] for turn in turns(two, RESULT, RESULT, called(), RESULT)] == [
        *("assistant", "tool", "tool", "assistant", "tool")
    ]


@pytest.mark.parametrize(
    "call",
    [
        "add",
        {},
        {"function": None},
        {"function": {"name": None, "arguments": "{}"}},
        {"function": {"name": "add", "arguments": '{"a": }'}},
        {"function": {"name": "add", "arguments": "[1]"}},
        {"name": "add", "args": {"a": {1}}},
    ],
)
def test_a_malformed_call_and_its_result_are_text(call: Any) -> None:
    chat = {"role": "assistant", "content": "Let me see.", "tool_calls": [call]}
    text, result = turns(message("user", "And?"), chat, RESULT)[1:]
    assert set(text) == {"role", "content"}
    assert text["content"].startswith("Let me see.\n<tool_call>\n")
    assert result == SHOWN_RESULT


@pytest.mark.parametrize(
    "shape",
    [
        {"tool_calls": [{"id": "x", "name": "add", "args": {"a": 1}}]},
        {"tool_calls": None, "function_call": {"id": "x", "name": "add", "arguments": '{"a": 1}'}},
        {"tool_calls": [], "content": [{"type": "tool_use", "id": "x", "name": "add", "input": {"a": 1}}]},
        {"content": [{"type": "tool_call", "id": "x", "name": "add", "args": {"a": 1}}]},
        {"content": [{"type": "function_call", "call_id": "x", "name": "add", "arguments": '{"a": 1}'}]},
    ],
)
def test_the_calls_of_other_providers_are_calls(shape: Any) -> None:
    assert turns({"role": "assistant", **shape}, RESULT) == turns(called(), RESULT)


@pytest.mark.parametrize(
    ("role", "known"),
    [("developer", "system"), ("human", "user"), ("ai", "assistant"), ("model", "assistant"), ("chatbot", "assistant")],
)
def test_the_roles_of_other_providers_are_known(role: str, known: str) -> None:
    assert turns(message("tool", ""), message(role, "Hi"))[1:] == turns(message("tool", ""), message(known, "Hi"))[1:]


def test_fields_that_no_prompt_can_show_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    log_once.cache_clear()
    other = {"reasoning_content": "Hm.", "refusal": None, "annotations": [], "audio": None, "tool_calls": None}
    assert turns({"role": "user", "content": "Hi", **other}) == [message("user", "Hi")]
    (record,) = caplog.records
    assert record.getMessage() == (
        "'reasoning_content' of a message of role 'user' cannot be part of a prompt and is left out"
    )


@pytest.mark.parametrize("text", ["half a \ud83d"])
def test_half_a_character_is_refused_in_calls_too(text: str) -> None:
    for chat in (called(function={"name": text}), called(function={"name": "add", "arguments": {"a": text}})):
        with pytest.raises(PromptError, match="lone surrogate"):
            turns(chat)


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
JSON = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner))
CALLS = st.fixed_dictionaries(
    {}, optional={"id": st.sampled_from(["x", "y", None, 7]), "function": JSON, "name": st.just("add"), "args": JSON}
)
HISTORY = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from([*ROLES, *OTHER_ROLES]), "content": st.none() | st.text(max_size=5)},
        optional={
            "tool_calls": st.none() | st.lists(CALLS | JSON, max_size=3),
            "function_call": JSON,
            "tool_call_id": st.sampled_from(["x", "y", None, 7]),
            "name": st.sampled_from(["add", None]),
            "refusal": st.none() | st.text(max_size=3),
        },
    ),
    max_size=6,
)


@given(HISTORY)
def test_every_history_of_known_roles_is_rendered_and_counted(history: Any) -> None:
    checked = check_prompt([*history, message("user", "So?")])
    assert isinstance(checked, list)
    ids = set()
    for turn in checked:
        ids |= {call["id"] for call in turn.get("tool_calls", ())}
        assert turn["role"] != "tool" or turn["tool_call_id"] in ids
        assert all(isinstance(call["function"]["arguments"], dict) for call in turn.get("tool_calls", ()))
    assert check_prompt(checked) == checked
    assert prompts(checked).base.endswith("So?\n")
    assert all(Nudger(MODEL, MODEL).count_tokens(history[start:]) >= 0 for start in range(len(history) + 1))


def test_counting_refuses_no_order_of_messages() -> None:
    strict = "{% if messages[0].role != 'user' %}{{ raise_exception('user first') }}{% endif %}"
    nudger = Nudger(MODEL, MODEL, nudging_template=strict)
    assert nudger.count_tokens([message("assistant", "Hello."), message("user", "So?")]) == 3
    assert nudger.count_tokens([called()]) > 0
    assert nudger.count_tokens([message("system", "Be brief."), message("user", "")]) == 3
    assert nudger.count_tokens([]) == nudger.count_tokens("") == 0
