"""The items of a Responses request, and the conversation that they are."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import ConfigDict, Discriminator, Field, Tag

from nudging._logging import log_once
from nudging.serving.messages import AssistantMessage, UserMessage
from nudging.serving.requests import Body

KNOWN_TYPES = ("message", "function_call", "function_call_output", "item_reference")


class UserItem(UserMessage):
    """A message of the user, or instructions."""

    type: Literal["message"] = "message"


class AssistantItem(AssistantMessage):
    """An earlier answer."""

    type: Literal["message"] = "message"


class FunctionCall(Body):
    """An earlier call of a tool."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str


class FunctionCallOutput(Body):
    """The result of a call."""

    type: Literal["function_call_output"]
    call_id: str
    output: Any


class ItemReference(Body):
    """An item of an earlier answer, by its id."""

    type: Literal["item_reference"]
    id: str


class OtherItem(Body):
    """Anything else, such as reasoning or a call of a tool that OpenAI hosts. It is left out of the prompt."""

    type: Annotated[str, Field(min_length=1, json_schema_extra={"not": {"enum": list(KNOWN_TYPES)}})]


ROLES = {
    tag: get_args(item.model_fields["role"].annotation)
    for tag, item in (("user", UserItem), ("assistant", AssistantItem))
}
"""The roles of messages, by their tags in the union below."""


def _kind(item: Any) -> str | None:
    """Return the tag of an item in the union below, or None if it is none."""
    if not isinstance(item, dict):
        return None
    kind = item.get("type", "message")
    if kind == "message":
        return next((tag for tag, roles in ROLES.items() if item.get("role") in roles), None)
    if kind in KNOWN_TYPES:
        return str(kind)
    return "other" if isinstance(kind, str) else None


Item: TypeAlias = Annotated[
    Annotated[UserItem, Tag("user")]
    | Annotated[AssistantItem, Tag("assistant")]
    | Annotated[FunctionCall, Tag("function_call")]
    | Annotated[FunctionCallOutput, Tag("function_call_output")]
    | Annotated[ItemReference, Tag("item_reference")]
    | Annotated[OtherItem, Tag("other")],
    Discriminator(
        _kind,
        custom_error_type="unknown_item",
        custom_error_message="send a message with the role user, system, developer or assistant, a function_call or a "
        "function_call_output",
    ),
]


def messages_of(items: str | Sequence[Item]) -> list[dict[str, Any]]:
    """Return the input of a request as messages of a chat request. The calls of one turn are in one message."""
    if isinstance(items, str):
        return [{"role": "user", "content": items}]
    messages: list[dict[str, Any]] = []
    for item in items:
        match item:
            case FunctionCall():
                call = {"id": item.call_id, "function": {"name": item.name, "arguments": item.arguments}}
                if not messages or messages[-1]["role"] != "assistant":
                    messages.append({"role": "assistant", "content": None})
                messages[-1].setdefault("tool_calls", []).append({"type": "function", **call})
            case FunctionCallOutput():
                messages.append({"role": "tool", "tool_call_id": item.call_id, "content": item.output})
            case OtherItem():
                if item.type != "reasoning":
                    log_once(f"an item of type {item.type!r:.40} cannot be part of a prompt and is left out")
            case _:
                messages.append(item.model_dump(include={"role", "content", "name"}))
    return messages
