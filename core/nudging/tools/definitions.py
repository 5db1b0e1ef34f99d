"""Definitions of tools: checked, and turned into grammars for calls."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from nudging.errors import GrammarError
from nudging.grammar.grammar import Grammar, Schema, checked_schema, json_schema
from nudging.tools.parsing import CLOSING_TAG, OPENING_TAG

Tool: TypeAlias = Mapping[str, Any]
"""A function in OpenAI's shape: `{"type": "function", "function": {"name", "description", "parameters"}}`."""

ToolChoice: TypeAlias = Literal["auto", "none", "required"] | str | Mapping[str, Any]
"""When a tool is called: if the models choose to, never, always (any tool), or always the tool with this name."""


NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}
"""The parameters of a tool that has none."""


def check_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Return the tools as plain data.

    Raises:
        GrammarError: A tool has no name, or its parameters are not the schema of an object.
    """
    return [_checked(tool, number) for number, tool in enumerate(tools, start=1)]


def allowed_tools(
    choice: ToolChoice | bool | None, tools: list[dict[str, Any]]
) -> tuple[ToolChoice | bool | None, list[dict[str, Any]]]:
    """Return the choice and the tools that it allows: all of them, unless it is OpenAI's list of allowed tools.

    Raises:
        GrammarError: A tool of the list does not exist, or the list is empty.
    """
    if not isinstance(choice, Mapping) or choice.get("type") != "allowed_tools":
        return choice, tools
    given = choice.get("allowed_tools", choice)  # the Responses API has the list one level higher
    listed = given.get("tools") if isinstance(given, Mapping) else None
    if not isinstance(listed, Sequence) or not listed or not all(isinstance(one, Mapping) for one in listed):
        raise GrammarError(f"tool_choice={choice!r:.80}: list the tools that are allowed")
    allowed = [_chosen(one) for one in listed]
    for name in allowed:
        if name not in names(tools):
            raise _no_such_tool(name, tools)
    return given.get("mode", "auto"), [tool for tool in tools if tool["function"]["name"] in allowed]


def check_choice(choice: ToolChoice | bool | None, tools: Sequence[Tool]) -> str:
    """Return the tool choice as "auto", "none", "required", or the name of the tool that must be called.

    Raises:
        GrammarError: There is no tool with this name, or there are no tools.
    """
    if isinstance(choice, Mapping):
        choice = _chosen(choice)
    if choice is None or isinstance(choice, bool):
        choice = "required" if choice else "auto"
    if choice in ("auto", "none"):
        return choice
    if not tools:
        raise GrammarError(f"tool_choice={choice!r} without tools: give tools to choose from")
    if choice in ("any", "required"):
        return "required"
    if choice not in names(tools):
        raise _no_such_tool(choice, tools)
    return choice


def _chosen(choice: Mapping[str, Any]) -> str:
    """Return the name of the tool in a choice of OpenAI's shape.

    Raises:
        GrammarError: It names no function.
    """
    function = choice.get("function", choice)
    name = function.get("name") if isinstance(function, Mapping) else function
    if not isinstance(name, str):
        raise GrammarError(f"tool_choice={choice!r:.80}: it names no function, and only functions can be called")
    return name


def _no_such_tool(name: str, tools: Sequence[Tool]) -> GrammarError:
    return GrammarError(
        f"tool_choice={name!r}: there is no such tool; choose auto, none, required or one of {', '.join(names(tools))}"
    )


def names(tools: Sequence[Tool]) -> list[str]:
    """Return the names of the tools."""
    return [tool["function"]["name"] for tool in tools]


def call_grammar(tools: Sequence[Tool], choice: str, *, parallel: bool) -> Grammar:
    """Return the grammar of a call of any of the tools, or of the chosen one, with valid arguments.

    With `parallel`, more calls may follow, one per line.
    """
    functions = [tool["function"] for tool in tools if choice in ("required", tool["function"]["name"])]
    calls = _Calls(functions)
    start = 'start: call ("\\n" call)*' if parallel else "start: call"
    meaning = f"{'calls' if parallel else 'a call'} of {' or '.join(function['name'] for function in functions)}"
    return Grammar.of_lark("\n".join([start, *calls.rules]), meaning, examples=calls.examples)


def call_or_schema_grammar(tools: Sequence[Tool], schema: Schema, *, parallel: bool) -> Grammar:
    """Return the grammar of a call of any of the tools, or JSON that is valid under the schema.

    A call is within `<tool_call>` tags, so its first character tells it from JSON. With `parallel`, more calls may
    follow a call.
    """
    calls = _Calls([tool["function"] for tool in tools], opening=f"{OPENING_TAG}\n", closing=f"\n{CLOSING_TAG}")
    guided = checked_schema(json_schema(schema), "the schema")
    rules = [
        'start: answer | call ("\\n" call)*' if parallel else "start: answer | call",
        f"answer: %json {json.dumps(guided.schema)}",
        *calls.rules,
    ]
    return Grammar.of_lark(
        "\n".join(rules), "the schema, or a call of a tool", examples=guided.examples + calls.examples
    )


class _Calls:
    """The Lark rules of the calls of some functions: `call` is any of them.

    Args:
        functions: The functions.
        opening: Text before each call.
        closing: Text after each call.

    Raises:
        GrammarError: The parameters of a function cannot be expressed.
    """

    def __init__(self, functions: Sequence[Mapping[str, Any]], opening: str = "", closing: str = "") -> None:
        self.rules = [f"call: {' | '.join(f'call{number}' for number, _ in enumerate(functions))}"]
        self.examples: tuple[str, ...] = ()
        for number, function in enumerate(functions):
            start = json.dumps(f'{opening}{{"name": {json.dumps(function["name"])}, "arguments": ')
            guided = checked_schema(function["parameters"], f"a call of {function['name']}")
            self.examples += guided.examples
            self.rules.append(f"call{number}: {start} call{number}_arguments {json.dumps('}' + closing)}")
            self.rules.append(f"call{number}_arguments: %json {json.dumps(guided.schema)}")


def optional_calls_grammar(tools: Sequence[Tool]) -> Grammar | None:
    """Return the grammar of any text in which every call of a tool, in whatever format, has valid arguments.

    None if no tool has a schema that a grammar can express.
    """
    calls: list[str] = []
    rules: list[str] = []
    for function in (tool["function"] for tool in tools):
        try:
            guided = checked_schema(function["parameters"], f"a call of {function['name']}")
        except GrammarError:
            continue
        call, name = f"call{len(calls)}", re.escape(json.dumps(function["name"])).replace("/", r"\/")
        calls.append(call)
        rules.append(f'{call}: {call}_start ", \\"arguments\\": " {call}_arguments "}}"')
        rules.append(rf'{call}_start[lazy]: /(.|\n)*"name"[ \n]*:[ \n]*{name}/')
        rules.append(f"{call}_arguments: %json {json.dumps(guided.schema)}")
    if not calls:
        return None
    start = [f"start: ({' | '.join(calls)})* TEXT", r"TEXT: /(.|\n)*/"]
    return Grammar.of_lark("\n".join([*start, *rules]), "a call of a tool", lazy=True)


def _checked(tool: object, number: int) -> dict[str, Any]:
    where = f"tool {number}"
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping):
        raise GrammarError(
            f'{where} is {str(tool)[:60]!r}: give {{"type": "function", "function": {{"name": …, "parameters": …}}}}'
        )
    name = function.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]{1,128}", name):
        raise GrammarError(f"{where} has the name {name!r}: use letters, digits, '_', '-' and '.' only")
    parameters = function.get("parameters")
    if parameters is None or parameters == {}:
        parameters = NO_PARAMETERS
    if not isinstance(parameters, Mapping):
        raise GrammarError(f"the parameters of the tool {name!r} are {parameters!r:.60}: give a JSON schema, or none")
    if parameters.get("type", "object") != "object":
        raise GrammarError(f"the parameters of the tool {name!r} are of type {parameters['type']!r}: give an object")
    parameters = {"type": "object", "properties": {}, **parameters}
    try:
        plain: dict[str, Any] = json.loads(json.dumps({**function, "parameters": parameters}))
    except (TypeError, ValueError) as error:
        raise GrammarError(f"the tool {name!r} cannot be written as JSON: {error}") from None
    return {"type": "function", "function": plain}
