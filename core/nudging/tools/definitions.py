"""Tools that a model may call: checked, and as the grammar of a call that must be made."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from nudging.errors import GrammarError
from nudging.grammar.grammar import Grammar, guided, is_expressible

Tool: TypeAlias = Mapping[str, Any]
"""A function as OpenAI describes it: `{"type": "function", "function": {"name", "description", "parameters"}}`."""

ToolChoice: TypeAlias = Literal["auto", "none", "required"] | str | Mapping[str, Any]
"""Whether a tool is called: as the models like, never, always (any of them), or the one of this name."""


def check_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """The tools as plain data.

    Raises:
        GrammarError: One has no name, or no schema of its arguments.
    """
    return [_checked(tool, number) for number, tool in enumerate(tools, start=1)]


def check_choice(choice: ToolChoice | bool | None, tools: Sequence[Tool]) -> str:
    """What it comes to: "auto", "none", "required", or the name of the tool that must be called.

    Raises:
        GrammarError: There is no tool of this name, or none at all.
    """
    if isinstance(choice, Mapping):  # as OpenAI has it
        choice = str(choice.get("function", choice).get("name"))
    if choice is None or isinstance(choice, bool):
        choice = "required" if choice else "auto"
    if choice in ("auto", "none"):
        return choice
    if not tools:
        raise GrammarError(f"tool_choice={choice!r} without tools: give tools to choose from")
    if choice in ("any", "required"):
        return "required"
    if choice not in names(tools):
        raise GrammarError(
            f"tool_choice={choice!r}: there is no such tool; choose auto, none, required or one of "
            f"{', '.join(names(tools))}"
        )
    return choice


def names(tools: Sequence[Tool]) -> list[str]:
    """Of these tools."""
    return [tool["function"]["name"] for tool in tools]


def call_grammar(tools: Sequence[Tool], choice: str, *, parallel: bool) -> Grammar:
    """A call of any of these tools, or of the chosen one, with arguments that its schema permits.

    With `parallel`, more may follow, each on a line.
    """
    callable_tools = [tool["function"] for tool in tools if choice in ("required", tool["function"]["name"])]
    calls = [f"call{number}" for number, _ in enumerate(callable_tools)]
    rules = ['start: call ("\\n" call)*' if parallel else "start: call", f"call: {' | '.join(calls)}"]
    for call, function in zip(calls, callable_tools, strict=True):
        opening = json.dumps(f'{{"name": {json.dumps(function["name"])}, "arguments": ')
        rules.append(f'{call}: {opening} {call}_arguments "}}"')
        rules.append(f"{call}_arguments: %json {json.dumps(guided(function['parameters']))}")
    meaning = f"{'calls' if parallel else 'a call'} of {' or '.join(function['name'] for function in callable_tools)}"
    return Grammar.of_lark("\n".join(rules), meaning)


def begun_calls_grammar(tools: Sequence[Tool]) -> Grammar | None:
    """Any text; but what begins as a call of one of these tools, in whatever format, goes on as its schema permits.

    None if no tool has a schema that can be expressed.
    """
    functions = [tool["function"] for tool in tools if is_expressible(tool["function"]["parameters"])]
    if not functions:
        return None
    calls = [f"call{number}" for number, _ in enumerate(functions)]
    rules = [f"start: ({' | '.join(calls)})* TEXT", r"TEXT: /(.|\n)*/"]
    for call, function in zip(calls, functions, strict=True):
        name = re.escape(json.dumps(function["name"])).replace("/", r"\/")
        rules.append(f'{call}: {call}_begun ", \\"arguments\\": " {call}_arguments "}}"')
        rules.append(rf'{call}_begun[lazy]: /(.|\n)*"name"[ \n]*:[ \n]*{name}/')
        rules.append(f"{call}_arguments: %json {json.dumps(guided(function['parameters']))}")
    return Grammar.of_lark("\n".join(rules), "a call of a tool", lazy=True)


def _checked(tool: object, number: int) -> dict[str, Any]:
    where = f"tool {number}"
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping):
        raise GrammarError(
            f'{where} is {str(tool)[:60]!r}: give {{"type": "function", "function": {{"name": …, "parameters": …}}}}'
        )
    name = function.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]{1,128}", name):
        raise GrammarError(f"{where} has the name {name!r}: give one of letters, digits, '_', '-' and '.'")
    parameters = function.get("parameters")
    if not isinstance(parameters, Mapping) or not parameters:
        raise GrammarError(
            f"the tool {name!r} has no schema: give its parameters as a JSON schema "
            '({"type": "object", "properties": {}} if there are none)'
        )
    if parameters.get("type", "object") != "object":
        raise GrammarError(f"the parameters of the tool {name!r} are of type {parameters['type']!r}: give an object")
    parameters = {"type": "object", "properties": {}, **parameters}
    try:
        plain: dict[str, Any] = json.loads(json.dumps({**function, "parameters": parameters}))
    except (TypeError, ValueError) as error:
        raise GrammarError(f"the tool {name!r} is not plain data: {error}") from None
    return {"type": "function", "function": plain}
