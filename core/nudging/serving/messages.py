"""The messages of a request. Fields that are not listed here are ignored or understood by the engine."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema

from nudging.prompting.content import TEXT_FIELDS
from nudging.prompting.conversation import Message, without_empty_end
from nudging.serving.requests import Body

TEXT = '{"type": "text", "text": "…"}'

TEXT_PART = {
    "anyOf": [
        {
            "type": "object",
            "properties": {"type": {"const": name}, field: {"type": "string"}},
            "required": ["type", field],
        }
        for name, field in sorted(TEXT_FIELDS.items())
    ]
}
OTHER_PART = {
    "type": "object",
    "properties": {"type": {"type": "string", "minLength": 1, "not": {"enum": sorted(TEXT_FIELDS)}}},
    "required": ["type"],
}


def _content(*parts: dict[str, Any]) -> WithJsonSchema:
    items = {"anyOf": [{"type": "string"}, *parts]}
    return WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": items}, {"type": "null"}]})


def _checked(*, others: bool) -> Callable[[Any], Any]:
    """Return a check of a message's content.

    Args:
        others: True if parts that are not text are left out, False if they are refused.
    """

    def check(content: Any) -> Any:
        if content is None or isinstance(content, str):
            return content
        if not isinstance(content, list):
            raise ValueError(f"{content!r:.60} is not text: send a string or a list of text parts")
        for part in content:
            _check_part(part, others)
        return content

    return check


def _check_part(part: Any, others: bool) -> None:
    if isinstance(part, str):
        return
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or not kind or (kind not in TEXT_FIELDS and not others):
        raise ValueError(f"a part of type {kind!r:.60} is not supported: only text is, as in {TEXT}")
    if kind in TEXT_FIELDS and not isinstance(part.get(TEXT_FIELDS[kind]), str):
        raise ValueError(f"a part of type {kind!r} has no text in {TEXT_FIELDS[kind]!r}: send {TEXT}")


class _Message(Body):
    model_config = ConfigDict(extra="allow")

    name: str | None = None


class UserMessage(_Message):
    """A message of the user, or the instructions."""

    role: Literal["user", "system", "developer", "human"]
    content: Annotated[Any, AfterValidator(_checked(others=False)), _content(TEXT_PART)] = None


class AssistantMessage(_Message):
    """An earlier answer. Parts of it that are not text, such as reasoning, are left out."""

    role: Literal["assistant", "ai", "model", "chatbot"]
    content: Annotated[Any, AfterValidator(_checked(others=True)), _content(TEXT_PART, OTHER_PART)] = None


class ToolMessage(_Message):
    """The result of a call."""

    role: Literal["tool", "function"]
    content: Any = None


ChatMessage: TypeAlias = Annotated[UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]


def conversation(messages: list[dict[str, Any]]) -> list[Message]:
    """Return messages as the engine takes them. The last one may be empty at OpenAI; for the engine it is a space."""
    *before, last = messages
    is_empty = last["role"] not in ("tool", "function") and not without_empty_end([last])
    return [*before, {**last, "content": " "} if is_empty else last]
