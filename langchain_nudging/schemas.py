"""Translate LangChain's tools and schemas into JSON schemas and OpenAI's tool format."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from nudging.grammar.grammar import json_schema
from nudging.tools.definitions import check_tools
from pydantic import BaseModel

Tool: TypeAlias = Mapping[str, Any] | type | Callable[..., Any] | BaseTool
Schema: TypeAlias = Mapping[str, Any] | type


def engine_options(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a call as the engine takes them.

    Raises:
        GrammarError: A tool or a schema cannot be used.
    """
    options = dict(kwargs)
    if response_format := options.pop("response_format", None):
        options["schema"] = response_schema(response_format)
        options.pop("strict", None)
    if (schema := options.get("schema")) is not None:
        options["schema"] = to_json_schema(schema)
    if tools := options.get("tools"):
        options["tools"] = openai_tools(tools)
    return options


def openai_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Return the tools in OpenAI's format.

    Raises:
        GrammarError: A tool has no name, or no schema.
    """
    return check_tools([_openai_tool(tool) for tool in tools])


def schema_tool(schema: Schema) -> dict[str, Any]:
    """Return a tool in OpenAI's format whose name and arguments are those of the schema."""
    document = to_json_schema(schema)
    name = schema.__name__ if isinstance(schema, type) else str(document.get("title", "answer"))
    function = {"name": re.sub(r"[^\w.-]", "_", name), "parameters": document}
    if description := document.get("description"):
        function["description"] = description
    return {"type": "function", "function": function}


def to_json_schema(schema: Schema) -> dict[str, Any]:
    """Return the JSON schema of a pydantic model (version 1 or 2), a TypedDict, an OpenAI function or a JSON schema.

    Raises:
        GrammarError: The schema is none of these.
    """
    if isinstance(schema, type) and not issubclass(schema, BaseModel):
        if is_basemodel_subclass(schema):
            return dict(schema.schema())  # type: ignore[attr-defined]  # pydantic.v1
        return dict(convert_to_json_schema(schema))
    if isinstance(schema, Mapping) and "name" in schema and "parameters" in schema:
        return {"title": schema["name"], **schema["parameters"]}
    return json_schema(schema)


def trace_schema(schema: Schema) -> dict[str, Any]:
    """Return the schema in the form that LangChain shows in traces, if LangChain can convert it."""
    try:
        return dict(convert_to_json_schema(cast("Any", schema)))
    except (TypeError, ValueError):
        return to_json_schema(schema)


def response_schema(response_format: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the schema in OpenAI's `response_format`, or None for plain text."""
    if response_format.get("type") == "json_schema":
        return to_json_schema(response_format["json_schema"]["schema"])
    return {"type": "object"} if response_format.get("type") == "json_object" else None


def _openai_tool(tool: Tool) -> dict[str, Any]:
    if isinstance(tool, type) and issubclass(tool, BaseModel):
        return schema_tool(tool)
    return convert_to_openai_tool(tool)
