"""Translate the arguments of a call into the engine's options."""

from collections.abc import Mapping
from typing import Any

from nudging._logging import log_once

from llamaindex_nudging.messages import openai_tools

OTHER_NAMES = {"max_completion_tokens": "max_tokens", "stop_sequences": "stop"}
"""The names that other LLM classes have for settings of the engine."""

TOOL_OPTIONS = {"tool_choice", "tool_required", "parallel_tool_calls", "allow_parallel_tool_calls"}
"""The arguments about tools. They are left out of a structured prediction without tools."""

IGNORED = {
    "best_of",
    "betas",
    "callbacks",
    "echo",
    "extra_body",
    "extra_headers",
    "extra_query",
    "frequency_penalty",
    "headers",
    "keep_alive",
    "logit_bias",
    "max_retries",
    "metadata",
    "modalities",
    "n",
    "presence_penalty",
    "prompt_cache_key",
    "reasoning_effort",
    "repetition_penalty",
    "request_timeout",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "strict",
    "timeout",
    "top_k",
    "top_logprobs",
    "use_chat_completions",
    "user",
    "verbose",
    "verbosity",
}
"""The arguments of other LLM classes that have no counterpart here."""


def engine_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options for the engine. None means "not given"; unknown names are left for the engine to refuse."""
    options = {OTHER_NAMES.get(name, name): value for name, value in arguments.items() if value is not None}
    for name in sorted(IGNORED & set(options)):
        del options[name]
        log_once(f"the argument {name!r} of a call has no counterpart in NudgingLLM and is ignored")
    schema = _schema(options.pop("response_format", None))
    if schema is not None:
        options.setdefault("schema", schema)
    if options.get("tools"):
        options["tools"] = openai_tools(options["tools"])
    elif "schema" in options:
        options = {name: value for name, value in options.items() if name not in TOOL_OPTIONS}
    return options


def _schema(response_format: Any) -> Any:
    """Return the schema of OpenAI's `response_format`, which may also be a schema or a pydantic model itself."""
    match response_format:
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return schema
        case {"type": "json_object"}:
            return {"type": "object"}
        case {"type": "text"}:
            return None
    return response_format
