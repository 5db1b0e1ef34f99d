"""Tools: what is refused, and how calls are read in the formats that models of today write."""

from itertools import pairwise
from typing import Any

import pytest
from nudging import GrammarError
from nudging.tools.calls import ToolCall
from nudging.tools.definitions import check_choice, check_tools
from nudging.tools.parsing import parse_calls
from nudging.tools.streaming import PartialToolCall, parse_partial_calls, visible_content

NAMES = ["add", "get_weather"]
ADD = ToolCall("add", {"a": 1, "b": 2})
WEATHER = ToolCall("get_weather", {"city": "Köln"})


@pytest.mark.parametrize(
    ("text", "calls", "content"),
    [
        # Hermes, Qwen
        ('<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>', [ADD], ""),
        ('Let me see.\n<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>', [ADD], "Let me see."),
        (
            '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>\n'
            '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Köln"}}\n</tool_call>',
            [ADD, WEATHER],
            "",
        ),
        ('<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}', [ADD], ""),  # the budget ended
        ('<tool_call>{"name": "add", "arguments": "{\\"a\\": 1, \\"b\\": 2}"}</tool_call>', [ADD], ""),
        # Llama
        ('{"name": "add", "parameters": {"a": 1, "b": 2}}', [ADD], ""),
        ('<|python_tag|>{"name": "add", "parameters": {"a": 1, "b": 2}}', [ADD], ""),
        (
            '{"name": "add", "parameters": {"a": 1, "b": 2}}; {"name": "get_weather", "parameters": {"city": "Köln"}}',
            [ADD, WEATHER],
            "",
        ),
        ('{"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": 2}}}', [ADD], ""),
        # Mistral
        ('[TOOL_CALLS] [{"name": "add", "arguments": {"a": 1, "b": 2}}]', [ADD], ""),
        ('[TOOL_CALLS]add{"a": 1, "b": 2}', [ADD], ""),
        ('[TOOL_CALLS]add[ARGS]{"a": 1, "b": 2}', [ADD], ""),
        (
            '[{"name": "add", "arguments": {"a": 1, "b": 2}}, {"name": "get_weather", "arguments": {"city": "Köln"}}]',
            [ADD, WEATHER],
            "",
        ),
        ('add[ARGS]{"a": 1, "b": 2}', [ADD], ""),  # its tags are special tokens, which are no text
        # JSON in a fence
        ('```json\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n```', [ADD], ""),
        ('Sure:\n```json\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n```', [ADD], "Sure:"),
        # no calls
        ("The sum is 3.", [], "The sum is 3."),
        (" add is a function.", [], " add is a function."),
        ('{"a": 1}', [], '{"a": 1}'),
        ('{"name": "Bob", "arguments": {}}', [], '{"name": "Bob", "arguments": {}}'),
        ('<tool_call>{"name": "sub", "arguments": {}}</tool_call>', [ToolCall("sub", {})], ""),  # the caller will see
        ('```json\n{"a": 1}\n```', [], '```json\n{"a": 1}\n```'),
        ("", [], ""),
    ],
)
def test_calls_are_read_in_the_formats_of_today(text: str, calls: list[ToolCall], content: str) -> None:
    parsed = parse_calls(text, NAMES)
    assert list(parsed.tool_calls) == calls
    assert parsed.content == content
    assert not parsed.invalid_tool_calls


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('<tool_call>\n{"name": "add", "arguments": {"a": 1, \n</tool_call>', "add"),
        ("<tool_call>add(1, 2)</tool_call>", None),
        ('{"name": "add", "arguments": {"a": 1', "add"),
        ('<tool_call>{"name": "add", "arguments": [1, 2]}</tool_call>', "add"),
        ('<tool_call>{"name": "add", "arguments": "one and two"}</tool_call>', "add"),
        ("[TOOL_CALLS] [{]", None),
        ("<tool_call>" + '{"a":' * 5000 + "</tool_call>", None),
    ],
)
def test_what_was_meant_as_a_call_and_is_malformed_is_kept_as_an_invalid_one(text: str, name: str | None) -> None:
    parsed = parse_calls(text, NAMES)
    assert not parsed.tool_calls
    (invalid,) = parsed.invalid_tool_calls
    assert invalid.name == name
    assert invalid.error


def test_a_malformed_call_does_not_lose_the_good_one_before_it() -> None:
    text = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call><tool_call>{"name": "get_w</tool_call>'
    parsed = parse_calls(text, NAMES)
    assert parsed.tool_calls == (ADD,)
    assert len(parsed.invalid_tool_calls) == 1


@pytest.mark.parametrize(
    "text",
    [
        'Let me see. <tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>',
        '{"name": "add", "parameters": {"a": 1, "b": 2}}',
        'Sure:\n```json\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n``` Done.',
        " The sum of 1 < 2 is 3. `code` ```python\nx\n```",
        "A list: [1, 2]\n",
        "get_weather is a tool",
    ],
)
def test_what_is_shown_early_is_never_taken_back(text: str) -> None:
    content = parse_calls(text, NAMES).content
    shown = ""
    for end in range(len(text) + 1):
        certain = visible_content(text[:end], NAMES)
        assert certain.startswith(shown)
        assert content.startswith(certain)
        shown = certain


def test_forced_calls_are_seen_as_they_grow() -> None:
    first, second = '{"name": "add", "arguments": {"a": 1, "b": 2}}', '{"name": "look \\"up\\"", "arguments": {}}'
    text = f"{first}\n{second}"
    seen = [list(parse_partial_calls(text[:end])) for end in range(len(text) + 1)]
    assert seen[10] == []
    assert [len(calls) for calls in seen] == sorted(len(calls) for calls in seen)
    assert seen[-1] == [PartialToolCall("add", '{"a": 1, "b": 2}'), PartialToolCall('look "up"', "{}")]
    arguments = [calls[0].arguments for calls in seen if calls]
    assert all(later.startswith(earlier) for earlier, later in pairwise(arguments))


def tool(**function: Any) -> dict[str, Any]:
    return {"type": "function", "function": function}


@pytest.mark.parametrize(
    ("tools", "reason"),
    [
        (["add"], "tool 1 is 'add'"),
        ([{"name": "add"}], "tool 1 is"),
        ([tool(parameters={"type": "object"})], "tool 1 has the name None"),
        ([tool(name="a b", parameters={"type": "object"})], "tool 1 has the name 'a b'"),
        ([tool(name="add")], "the tool 'add' has no schema"),
        ([tool(name="add", parameters={})], "the tool 'add' has no schema"),
        ([tool(name="add", parameters={"type": "string"})], "are of type 'string'"),
        ([tool(name="add", parameters={"type": "object", "default": object()})], "is not plain data"),
    ],
)
def test_a_tool_that_cannot_be_called_is_refused(tools: list[Any], reason: str) -> None:
    with pytest.raises(GrammarError, match=reason):
        check_tools(tools)


TOOLS = check_tools([tool(name=name, parameters={"type": "object"}) for name in NAMES])


@pytest.mark.parametrize(
    ("choice", "meaning"),
    [
        (None, "auto"),
        (False, "auto"),
        ("auto", "auto"),
        ("none", "none"),
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ("add", "add"),
        ({"type": "function", "function": {"name": "add"}}, "add"),
    ],
)
def test_a_tool_choice_may_be_said_in_many_ways(choice: Any, meaning: str) -> None:
    assert check_choice(choice, TOOLS) == meaning


@pytest.mark.parametrize(
    ("choice", "tools", "reason"),
    [("sub", TOOLS, "no such tool; choose auto, none, required or one of add"), ("any", [], "without tools")],
)
def test_a_tool_choice_that_cannot_be_is_refused(choice: str, tools: list[Any], reason: str) -> None:
    with pytest.raises(GrammarError, match=reason):
        check_choice(choice, tools)
