"""What LangChain's users describe tools and structured output with -> JSON schemas and OpenAI's functions."""

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


def as_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """The tools as OpenAI describes functions.

    Raises:
        GrammarError: One has no name, or no schema.
    """
    return check_tools([_as_tool(tool) for tool in tools])


def schema_tool(schema: Schema) -> dict[str, Any]:
    """A tool whose arguments follow this schema, and that has its name."""
    document = as_json_schema(schema)
    name = schema.__name__ if isinstance(schema, type) else str(document.get("title", "answer"))
    function = {"name": re.sub(r"[^\w.-]", "_", name), "parameters": document}
    if description := document.get("description"):
        function["description"] = description
    return {"type": "function", "function": function}


def as_json_schema(schema: Schema) -> dict[str, Any]:
    """A pydantic model (of version 2 or 1), a TypedDict, an OpenAI function or a JSON schema as a JSON schema.

    Raises:
        GrammarError: It is none of these.
    """
    if isinstance(schema, type) and not issubclass(schema, BaseModel):
        if is_basemodel_subclass(schema):
            return dict(schema.schema())  # type: ignore[attr-defined]  # pydantic.v1
        return dict(convert_to_json_schema(schema))
    if isinstance(schema, Mapping) and "name" in schema and "parameters" in schema:
        return {"title": schema["name"], **schema["parameters"]}
    return json_schema(schema)


def traced_schema(schema: Schema) -> dict[str, Any]:
    """The schema as LangChain has it in its traces, where it can."""
    try:
        return dict(convert_to_json_schema(cast("Any", schema)))
    except (TypeError, ValueError):
        return as_json_schema(schema)


def response_schema(response_format: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """OpenAI's `response_format` as a schema; None for plain text."""
    if response_format.get("type") == "json_schema":
        return as_json_schema(response_format["json_schema"]["schema"])
    return {"type": "object"} if response_format.get("type") == "json_object" else None


def _as_tool(tool: Tool) -> dict[str, Any]:
    if isinstance(tool, type) and issubclass(tool, BaseModel):
        return schema_tool(tool)
    return convert_to_openai_tool(tool)
