"""Answers in OpenAI's words. What they do not have (who wrote what) stands beside it, under `nudging`."""

import json
import time
from typing import Any
from uuid import uuid4

from nudging.answer import Answer, Piece, TokenLogprob
from nudging.tools.calls import new_call_id
from nudging.tools.streaming import DeltaTracker, PartialAnswer, ToolCallDelta


class Reply:
    """What all replies to one request have in common.

    Args:
        kind: "chat.completion" or "text_completion".
        model: The name of the pair.
    """

    def __init__(self, kind: str, model: str) -> None:
        self._kind = kind
        self._head = {
            "id": ("chatcmpl-" if kind == "chat.completion" else "cmpl-") + uuid4().hex,
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, *answers: Answer) -> dict[str, Any]:
        """The reply that is not streamed."""
        choices = [self._choice(index, answer) for index, answer in enumerate(answers)]
        return {**self._head, "object": self._kind, "choices": choices, "usage": usage(*answers)}

    def chunk(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """A part of one that is."""
        kind = "chat.completion.chunk" if self._kind == "chat.completion" else self._kind
        return {**self._head, "object": kind, "choices": choices, **more}

    def _choice(self, index: int, answer: Answer) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": index, "finish_reason": finish_reason(answer), "logprobs": None}
        if self._kind == "chat.completion":
            message: dict[str, Any] = {"role": "assistant", "content": answer.content}
            if answer.tool_calls:
                message["tool_calls"] = calls(answer)
            choice["message"] = message
            if answer.logprobs is not None:
                choice["logprobs"] = {"content": chat_logprobs(answer.logprobs)}
        else:
            choice["text"] = answer.text
            if answer.logprobs is not None:
                choice["logprobs"] = completion_logprobs(answer.logprobs)
        choice["nudging"] = {
            "nudge_ratio": answer.nudge_ratio,
            "pieces": [{"text": piece.text, "author": piece.author} for piece in answer.pieces],
        }
        return choice


class Deltas:
    """A chat answer, piece by piece. Text that a tool call may begin in is held back."""

    def __init__(self) -> None:
        self._deltas = DeltaTracker()

    def of_piece(self, piece: Piece, partial: PartialAnswer) -> dict[str, Any]:
        """The choice that this piece brings."""
        delta: dict[str, Any] = {"content": self._deltas.content(partial.content)}
        if parts := [_call_part(part) for part in self._deltas.parts(partial.tool_calls)]:
            delta["tool_calls"] = parts
        return {
            "index": 0,
            "delta": delta,
            "finish_reason": None,
            "nudging": {"author": piece.author, "text": piece.text},
        }

    def last(self, answer: Answer) -> list[dict[str, Any]]:
        """The choices that end it: what was held back, and why it ended."""
        delta: dict[str, Any] = {}
        if rest := self._deltas.content(answer.content):
            delta["content"] = rest
        if answer.tool_calls and not self._deltas.calls:
            delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls(answer))]
        end: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": finish_reason(answer)}
        if answer.logprobs is not None:
            end["logprobs"] = {"content": chat_logprobs(answer.logprobs)}
        held_back = {"index": 0, "delta": delta, "finish_reason": None}
        return [held_back, end] if delta else [end]


def _call_part(part: ToolCallDelta) -> dict[str, Any]:
    if part.name is None:
        return {"index": part.index, "function": {"arguments": part.arguments}}
    function = {"name": part.name, "arguments": part.arguments}
    return {"index": part.index, "id": new_call_id(), "type": "function", "function": function}


def finish_reason(answer: Answer) -> str:
    """OpenAI's word for it: a loop is an end like another."""
    if answer.tool_calls:
        return "tool_calls"
    return "length" if answer.finish_reason == "length" else "stop"


def usage(*answers: Answer) -> dict[str, int]:
    """What the answers cost together, in base-model tokens."""
    prompt = sum(answer.usage.prompt_tokens for answer in answers)
    completion = sum(answer.usage.completion_tokens for answer in answers)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def calls(answer: Answer) -> list[dict[str, Any]]:
    """The calls of a whole answer, their arguments as JSON."""
    return [
        {
            "id": new_call_id(),
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
        }
        for call in answer.tool_calls
    ]


def chat_logprobs(logprobs: tuple[TokenLogprob, ...]) -> list[dict[str, Any]]:
    """As chat completions have them."""
    return [
        {"token": one.token, "logprob": one.logprob, "bytes": list(one.token.encode()), "top_logprobs": []}
        for one in logprobs
    ]


def completion_logprobs(logprobs: tuple[TokenLogprob, ...]) -> dict[str, Any]:
    """As completions have them."""
    offsets, end = [], 0
    for one in logprobs:
        offsets.append(end)
        end += len(one.token)
    return {
        "tokens": [one.token for one in logprobs],
        "token_logprobs": [one.logprob for one in logprobs],
        "top_logprobs": None,
        "text_offset": offsets,
    }
