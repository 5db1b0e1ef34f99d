"""The names of speakers (`name` of a message): in a prompt where its template shows them, else left out."""

from collections.abc import Callable, Sequence

from nudging._logging import log_once
from nudging.errors import ChatTemplateError
from nudging.prompting.conversation import Message, append_turn


def rendered(messages: Sequence[Message], render: Callable[[Sequence[Message]], str]) -> str:
    """Return a conversation as rendered by `render`, with the names of its speakers if they change the prompt.

    Neighbours of one role and different names are two messages in a prompt that shows names, and one in any other:
    most templates want roles to alternate.

    Raises:
        ChatTemplateError: The template fails on this conversation without names.
    """
    if not any("name" in message for message in messages if message["role"] != "tool"):
        return render(messages)
    nameless = [_nameless(message) for message in messages]
    named = _rendered_or_none(messages, render)
    if named is not None and named != _rendered_or_none(nameless, render):
        return named
    log_once("the names of messages are left out: the template does not show them")
    turns: list[Message] = []
    for message in nameless:
        append_turn(turns, message)
    return render(turns)


def _rendered_or_none(messages: Sequence[Message], render: Callable[[Sequence[Message]], str]) -> str | None:
    try:
        return render(messages)
    except ChatTemplateError:
        return None


def _nameless(message: Message) -> Message:
    if message["role"] == "tool":
        return message
    return {field: value for field, value in message.items() if field != "name"}
