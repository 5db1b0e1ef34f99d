"""Unfinished answers: the content and the calls that a client may see only grow."""

from itertools import pairwise

import pytest
from nudging.tools.parsing import parse_calls
from nudging.tools.streaming import PartialToolCall, parse_partial_calls, visible_content

NAMES = ["add", "get_weather"]


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
def test_visible_content_only_grows(text: str) -> None:
    content = parse_calls(text, NAMES).content
    shown = ""
    for end in range(len(text) + 1):
        certain = visible_content(text[:end], NAMES)
        assert certain.startswith(shown)
        assert content.startswith(certain)
        shown = certain


@pytest.mark.parametrize(("opening", "closing"), [("", ""), ("<tool_call>\n", "\n</tool_call>")])
def test_partial_calls_only_grow(opening: str, closing: str) -> None:
    first, second = '{"name": "add", "arguments": {"a": 1, "b": 2}}', '{"name": "look \\"up\\"", "arguments": {}}'
    text = f"{opening}{first}{closing}\n{opening}{second}{closing}"
    seen = [list(parse_partial_calls(text[:end])) for end in range(len(text) + 1)]
    assert seen[10] == []
    assert [len(calls) for calls in seen] == sorted(len(calls) for calls in seen)
    assert seen[-1] == [PartialToolCall("add", '{"a": 1, "b": 2}'), PartialToolCall('look "up"', "{}")]
    arguments = [calls[0].arguments for calls in seen if calls]
    assert all(later.startswith(earlier) for earlier, later in pairwise(arguments))
