"""Tool calls and their results in a history, in the shape of any provider."""

import json
from collections.abc import Mapping
from typing import Any

from nudging._logging import log_once
from nudging.prompting.content import CALL_TYPES

ARGUMENTS = "arguments", "args", "input", "parameters", "kwargs"
"""The names that providers give to the arguments of a call."""


def calls_of(message: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the tool calls of an assistant's message, and its malformed calls as text.

    The calls are in `tool_calls`, in `function_call` (older messages of OpenAI), or blocks of the content.
    """
    content, legacy = message.get("content"), message.get("function_call")
    blocks = content if isinstance(content, list | tuple) else ()
    written = message.get("tool_calls") or [
        *([legacy] if legacy else ()),
        *(block for block in blocks if isinstance(block, Mapping) and block.get("type") in CALL_TYPES),
    ]
    calls, malformed = [], []
    for one in written if isinstance(written, list | tuple) else [written]:
        if (call := _call(one)) is None:
            log_once("a malformed tool call in a message of the assistant is shown to the models as text")
            malformed.append(_as_text(one))
        else:
            calls.append(call)
    return calls, malformed


class CallIds:
    """The ids of the calls in a conversation so far. Calls without an id get one."""

    def __init__(self) -> None:
        self._unanswered: dict[str, str] = {}  # id -> the tool's name
        self._answered: set[str] = set()
        self._own: set[str] = set()  # the ids that are given here

    def add(self, call: dict[str, Any]) -> None:
        """Add a call, and give it an id if it has none."""
        if not call["id"]:
            call["id"] = f"call_{len(self._unanswered) + len(self._answered) + 1}"
            self._own.add(call["id"])
        self._unanswered[call["id"]] = call["function"]["name"]

    def answer(self, id_: object, name: object) -> str | None:
        """Return the id of the call that a tool message answers, or None if there is no such call.

        A message whose call had no id, or that has none itself, answers the first open call of its tool.

        Args:
            id_: The message's `tool_call_id`, if it has one.
            name: The tool's name, if the message has it.
        """
        answered = str(id_) if id_ else None
        if answered not in self._unanswered and answered not in self._answered:
            answered = next(
                (
                    call
                    for call, tool in self._unanswered.items()
                    if (not id_ or call in self._own) and (not name or name == tool)
                ),
                None,
            )
        if answered is not None:
            self._unanswered.pop(answered, None)
            self._answered.add(answered)
        return answered


def _call(call: object) -> dict[str, Any] | None:
    """Return a call in OpenAI's shape with its arguments as a dictionary, or None if it is malformed."""
    function = _function(call)
    name = function.get("name") if function else None
    if function is None or not isinstance(name, str) or not name:
        return None
    arguments = _arguments(function)
    try:
        arguments = json.loads(arguments or "{}") if isinstance(arguments, str) else arguments
        arguments = json.loads(json.dumps(arguments or {}))
    except (TypeError, ValueError, RecursionError):
        return None
    if not isinstance(arguments, dict):
        return None
    id_ = function.get("id") or function.get("call_id") or function.get("toolUseId")
    return {"id": str(id_) if id_ else None, "type": "function", "function": {"name": name, "arguments": arguments}}


def _function(call: object) -> dict[str, Any] | None:
    """Return the id, the name and the arguments of a call on one level."""
    if not isinstance(call, Mapping):
        return None
    inner = call.get("function", call.get("toolUse"))
    return {**call, **inner} if isinstance(inner, Mapping) else dict(call)


def _arguments(function: Mapping[str, Any]) -> Any:
    return next((function[name] for name in ARGUMENTS if function.get(name) is not None), None)


def _as_text(call: object) -> str:
    function = _function(call)
    shown = call if function is None else {"name": function.get("name"), "arguments": _arguments(function)}
    return f"<tool_call>\n{json.dumps(shown, ensure_ascii=False, default=str)}\n</tool_call>"
