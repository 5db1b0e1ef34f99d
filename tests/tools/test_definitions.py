"""Definitions of tools and tool choices: their forms, and what is refused."""

from typing import Any

import pytest
from nudging import GrammarError
from nudging.tools.definitions import NO_PARAMETERS, allowed_tools, check_choice, check_tools, names


def tool(**function: Any) -> dict[str, Any]:
    return {"type": "function", "function": function}


@pytest.mark.parametrize(
    ("tools", "reason"),
    [
        (["add"], "tool 1 is 'add'"),
        ([{"name": "add"}], "tool 1 is"),
        ([tool(parameters={"type": "object"})], "tool 1 has the name None"),
        ([tool(name="a b", parameters={"type": "object"})], "tool 1 has the name 'a b'"),
        ([tool(name="add", parameters="none")], "the parameters of the tool 'add' are 'none'"),
        ([tool(name="add", parameters={"type": "string"})], "are of type 'string'"),
        ([tool(name="add", parameters={"type": "object", "default": object()})], "cannot be written as JSON"),
    ],
)
def test_a_malformed_tool_is_refused(tools: list[Any], reason: str) -> None:
    with pytest.raises(GrammarError, match=reason):
        check_tools(tools)


@pytest.mark.parametrize("parameters", [{}, {"parameters": None}, {"parameters": {}}])
def test_a_tool_may_have_no_parameters(parameters: dict[str, Any]) -> None:
    (checked,) = check_tools([tool(name="now", **parameters)])
    assert checked["function"]["parameters"] == NO_PARAMETERS


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


ADD = {"type": "function", "name": "add"}


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"function": {"name": "add"}}]}},
        {"type": "allowed_tools", "mode": "required", "tools": [ADD]},
    ],
)
def test_only_the_allowed_tools_are_left(choice: dict[str, Any]) -> None:
    mode, allowed = allowed_tools(choice, TOOLS)
    assert (mode, names(allowed)) == ("required", ["add"])


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        ([], "list the tools"),
        (None, "list the tools"),
        (["add"], "list the tools"),
        ([{"name": "sub"}], "no such tool"),
    ],
)
def test_an_impossible_list_of_allowed_tools_is_refused(listed: Any, reason: str) -> None:
    with pytest.raises(GrammarError, match=reason):
        allowed_tools({"type": "allowed_tools", "mode": "auto", "tools": listed}, TOOLS)
