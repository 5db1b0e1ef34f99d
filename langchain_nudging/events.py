"""An answer as events of LangChain's content-block protocol, for `stream_events(version="v3")`."""

import json
from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessageChunk

Event = dict[str, Any]


class EventBuilder:
    """Builds the protocol events of one streamed answer from its message chunks.

    Each delta has the `author` of its text. The last event has the metadata that `invoke` gives.

    Args:
        message_id: The id of the message, if it has one.
    """

    def __init__(self, message_id: str | None) -> None:
        self._message_id = message_id
        self._pieces: list[dict[str, str]] = []
        self._text: dict[str, Any] = {"type": "text", "text": ""}
        self._calls: dict[Any, dict[str, Any]] = {}  # index of the call in the answer -> its chunk so far
        self._blocks: list[dict[str, Any]] = []  # the blocks that have begun, by index of the event

    def start(self) -> Event:
        """Return the first event."""
        identified = {"id": self._message_id} if self._message_id else {}
        return {"event": "message-start", "role": "ai", **identified, "metadata": {"provider": "nudging"}}

    def add(self, chunk: AIMessageChunk) -> Iterator[Event]:
        """Yield the events of a chunk, and after the last one the end of the message."""
        author = chunk.response_metadata["author"]
        self._pieces += chunk.response_metadata.get("pieces", [])
        is_last = chunk.chunk_position == "last"
        if chunk.text:
            if not self._text["text"]:
                yield self._begin(self._text)
            self._text["text"] += chunk.text
            yield self._delta(self._text, {"type": "text-delta", "text": chunk.text, "author": author})
        for part in () if is_last else chunk.tool_call_chunks:
            call = self._calls.get(part["index"])
            if call is None:
                call = self._calls[part["index"]] = {**part, "args": ""}
                yield self._begin(call)
            if part["args"]:
                call["args"] += part["args"]
                yield self._delta(call, {"type": "tool-call-delta", "args": part["args"], "author": author})
        if is_last:
            yield from self._end(chunk)

    def _end(self, chunk: AIMessageChunk) -> Iterator[Event]:
        for block in list(self._blocks):
            yield self._finish(block)
        for whole in [*chunk.tool_calls, *chunk.invalid_tool_calls]:
            call: dict[str, Any] = {**whole}
            yield self._begin(call)
            yield self._finish(call)
        metadata = {**chunk.response_metadata, "pieces": self._pieces}
        yield {"event": "message-finish", "usage": chunk.usage_metadata, "metadata": metadata}

    def _begin(self, block: dict[str, Any]) -> Event:
        self._blocks.append(block)
        empty: dict[str, Any] = (
            {"args": {}} if block["type"] == "tool_call" else {"args": ""} if "args" in block else {"text": ""}
        )
        return {"event": "content-block-start", "index": len(self._blocks) - 1, "content": {**block, **empty}}

    def _delta(self, block: dict[str, Any], delta: dict[str, Any]) -> Event:
        return {"event": "content-block-delta", "index": self._index(block), "delta": delta}

    def _finish(self, block: dict[str, Any]) -> Event:
        content = {**block}
        if block["type"] == "tool_call_chunk":  # a forced call, completed by its grammar
            content = {"type": "tool_call", "id": block["id"], "name": block["name"], "args": json.loads(block["args"])}
        return {"event": "content-block-finish", "index": self._index(block), "content": content}

    def _index(self, block: dict[str, Any]) -> int:
        return next(index for index, begun in enumerate(self._blocks) if begun is block)
