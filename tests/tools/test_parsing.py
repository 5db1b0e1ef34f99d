"""Tool calls are parsed in the formats of current models."""

import pytest
from nudging.tools.calls import ToolCall
from nudging.tools.parsing import parse_calls

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
        ('<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}', [ADD], ""),  # cut off by the budget
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
        ('add[ARGS]{"a": 1, "b": 2}', [ADD], ""),  # its tags are special tokens, which are not part of the text
        # JSON in a fence
        ('```json\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n```', [ADD], ""),
        ('Sure:\n```json\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n```', [ADD], "Sure:"),
        # no calls
        ("The sum is 3.", [], "The sum is 3."),
        (" add is a function.", [], " add is a function."),
        ('{"a": 1}', [], '{"a": 1}'),
        ('{"name": "Bob", "arguments": {}}', [], '{"name": "Bob", "arguments": {}}'),
        # an unknown name is left to the caller
        ('<tool_call>{"name": "sub", "arguments": {}}</tool_call>', [ToolCall("sub", {})], ""),
        ('```json\n{"a": 1}\n```', [], '```json\n{"a": 1}\n```'),
        ("", [], ""),
    ],
)
def test_calls_are_parsed_in_the_formats_of_current_models(text: str, calls: list[ToolCall], content: str) -> None:
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
def test_a_malformed_call_is_kept_as_an_invalid_one(text: str, name: str | None) -> None:
    parsed = parse_calls(text, NAMES)
    assert not parsed.tool_calls
    (invalid,) = parsed.invalid_tool_calls
    assert invalid.name == name
    assert invalid.error


def test_a_valid_call_before_a_malformed_one_is_kept() -> None:
    text = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call><tool_call>{"name": "get_w</tool_call>'
    parsed = parse_calls(text, NAMES)
    assert parsed.tool_calls == (ADD,)
    assert len(parsed.invalid_tool_calls) == 1
