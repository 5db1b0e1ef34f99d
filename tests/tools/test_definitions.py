"""Definitions of tools and tool choices: their forms, and what is refused."""

from typing import Any

import pytest
from nudging import GrammarError
from nudging.tools.definitions import check_choice, check_tools


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
        ([tool(name="add", parameters={"type": "object", "default": object()})], "cannot be written as JSON"),
    ],
)
def test_a_malformed_tool_is_refused(tools: list[Any], reason: str) -> None:
    with pytest.raises(GrammarError, match=reason):
        check_tools(tools)


TOOLS = check_tools([tool(name=name, parameters={"type": "object"}) for name in ("add", "get_weather")])


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
def test_all_forms_of_a_tool_choice_are_understood(choice: Any, meaning: str) -> None:
    assert check_choice(choice, TOOLS) == meaning


@pytest.mark.parametrize(
    ("choice", "tools", "reason"),
    [("sub", TOOLS, "no such tool; choose auto, none, required or one of add"), ("any", [], "without tools")],
)
def test_an_impossible_tool_choice_is_refused(choice: str, tools: list[Any], reason: str) -> None:
    with pytest.raises(GrammarError, match=reason):
        check_choice(choice, tools)
