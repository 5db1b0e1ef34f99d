"""Translate LangChain's tools and schemas into JSON schemas and OpenAI's tool format."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, TypeAlias, cast

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from nudging.grammar.grammar import json_schema
from nudging.tools.definitions import check_tools, names
from pydantic import BaseModel, TypeAdapter

Tool: TypeAlias = Mapping[str, Any] | type | Callable[..., Any] | BaseTool
Schema: TypeAlias = Mapping[str, Any] | type
Choice: TypeAlias = str | Mapping[str, Any] | bool | None

ANY_OBJECT = {"type": "object"}


def engine_options(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the options of a call as the engine takes them, and the tools' own names by those that the engine gets.

    Raises:
        GrammarError: A tool or a schema cannot be used.
    """
    options = dict(kwargs)
    if response_format := options.pop("response_format", None):
        options["schema"] = response_schema(response_format)
    if (schema := options.get("schema")) is not None:
        options["schema"] = to_json_schema(schema)
    own_names = {}
    if tools := options.get("tools"):
        checked = openai_tools(tools)
        own_names = {safe_name(name): name for name in names(checked) if safe_name(name) != name}
        options["tools"] = [_safe(tool) for tool in checked]
        choice = tool_choice(options.get("tool_choice"))
        options["tool_choice"] = safe_name(choice) if isinstance(choice, str) else choice
    return options, own_names


def openai_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Return the tools in OpenAI's format.

    Raises:
        GrammarError: A tool has no name, or no schema.
    """
    translated = [_openai_tool(tool) for tool in tools]
    checked = check_tools([_safe(tool) for tool in translated])
    return [
        {**tool, "function": {**tool["function"], "name": own["function"]["name"]}}
        for tool, own in zip(checked, translated, strict=True)
    ]


def tool_choice(choice: Choice) -> str | bool | None:
    """Return a tool choice in the shape of OpenAI or Anthropic as a word, or as the name of a tool."""
    if not isinstance(choice, Mapping):
        return choice
    function = choice.get("function", choice)
    return cast("str", function.get("name") or choice.get("type"))


def schema_tool(schema: Schema) -> dict[str, Any]:
    """Return a tool in OpenAI's format whose name and arguments are those of the schema.

    The name is that by which LangChain's parsers look for a class: its title, or else its name.
    """
    document = to_json_schema(schema)
    title = getattr(schema, "model_config", document).get("title")
    name = title or (schema.__name__ if isinstance(schema, type) else "answer")
    function = {"name": str(name), "parameters": document}
    if description := document.get("description"):
        function["description"] = description
    return {"type": "function", "function": function}


def safe_name(name: str) -> str:
    """Return a name that every chat template can show: `Box[int]` becomes `Box_int_`."""
    return re.sub(r"[^\w.-]", "_", name)


def to_json_schema(schema: Schema) -> dict[str, Any]:
    """Return the JSON schema of a class (pydantic, a TypedDict, a dataclass), an OpenAI function or a JSON schema.

    Raises:
        GrammarError: The schema is none of these.
    """
    if isinstance(schema, type) and not issubclass(schema, BaseModel):
        if is_basemodel_subclass(schema):
            return dict(schema.schema())  # type: ignore[attr-defined]  # pydantic.v1
        return TypeAdapter(schema).json_schema() if is_dataclass(schema) else dict(convert_to_json_schema(schema))
    if isinstance(schema, Mapping) and schema.get("type") in ("function", "json_schema"):
        schema = schema.get("function") or schema.get("json_schema") or schema
    for parameters in ("parameters", "schema", "input_schema"):
        if isinstance(schema, Mapping) and "name" in schema and isinstance(schema.get(parameters), Mapping):
            return {"title": schema["name"], **schema[parameters]}
    return json_schema(schema)


def trace_schema(schema: Schema) -> dict[str, Any]:
    """Return the schema in the form that LangChain shows in traces, if LangChain can convert it."""
    try:
        return dict(convert_to_json_schema(cast("Any", schema)))
    except (TypeError, ValueError):
        return to_json_schema(schema)


def response_schema(response_format: Schema) -> Schema | None:
    """Return the schema in OpenAI's `response_format`, or None for plain text. A bare schema is one too."""
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind == "text":
        return None
    return ANY_OBJECT if kind == "json_object" else response_format


def _safe(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return dict(tool)  # refused by the engine
    return {**tool, "function": {**function, "name": safe_name(function["name"])}}


def _openai_tool(tool: Tool) -> dict[str, Any]:
    if isinstance(tool, type) and issubclass(tool, BaseModel):
        return schema_tool(tool)
    return convert_to_openai_tool(tool)
