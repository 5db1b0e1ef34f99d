"""The description of streams in the OpenAPI schema. FastAPI derives the rest of the schema."""

from functools import cache
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from nudging.serving.chat_completions.reply import ChatChunk
from nudging.serving.completions.reply import CompletionChunk
from nudging.serving.errors import ERROR_RESPONSES
from nudging.serving.responses.reply import ResponsesEvent

CHUNKS: tuple[type[BaseModel], ...] = (ChatChunk, CompletionChunk, ResponsesEvent)

PREFIX = "Streamed"
"""Start of the names of the chunks' schemas, because several of OpenAI's types have the same name."""


def responses_of(chunk: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of an endpoint's errors, and of its stream.

    Args:
        chunk: The data of one event.
    """
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"$ref": f"#/components/schemas/{PREFIX}{chunk.__name__}"},
    }
    schema = {
        "type": "object",
        "properties": {"data": {"anyOf": [data, {"const": "[DONE]"}]}, "event": {"type": "string"}},
        "required": ["data"],
        "description": "One server-sent event, if the request asks for a stream",
    }
    return {**ERROR_RESPONSES, 200: {"content": {"text/event-stream": {"schema": schema}}}}


def publish_chunks(app: FastAPI) -> None:
    """Add the schemas of all chunks to the OpenAPI schema of an application."""
    derived = app.openapi

    @cache
    def openapi() -> dict[str, Any]:
        schema = derived()
        template = f"#/components/schemas/{PREFIX}{{model}}"
        _, found = models_json_schema([(chunk, "serialization") for chunk in CHUNKS], ref_template=template)
        schema["components"]["schemas"] |= {PREFIX + name: its for name, its in found["$defs"].items()}
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
