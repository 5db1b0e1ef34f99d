"""What LangChain hears about an answer besides its text, in `response_metadata` and `generation_info`.

LangChain adds up the metadata of chunks, so every entry here has a sum that means something.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from nudging import Answer, Piece


class Authors(str):
    """Who wrote a chunk. In a sum of chunks each author is named once: "nudging+base"."""

    __slots__ = ()

    def __add__(self, other: str) -> "Authors":
        return self if other in self.split("+") else Authors(f"{self}+{other}")


def pieces_metadata(pieces: Sequence[Piece]) -> dict[str, Any]:
    """Of a chunk, which is one piece, or of all pieces of an answer."""
    return {
        "author": Authors("+".join(dict.fromkeys(piece.author for piece in pieces))),
        "pieces": [{"text": piece.text, "author": piece.author} for piece in pieces],
    }


def answer_metadata(answer: Answer, model_names: tuple[str, str]) -> dict[str, Any]:
    """Of the answer as a whole, which its last chunk brings.

    Args:
        answer: Complete.
        model_names: Of the base and of the nudging model.
    """
    base, nudging = model_names
    metadata: dict[str, Any] = {
        "model_name": " + ".join(model_names),
        "model_provider": "nudging",
        "base": {"model_name": base, **asdict(answer.usage.base)},
        "nudging": {"model_name": nudging, **asdict(answer.usage.nudging)},
        "finish_reason": answer.finish_reason,
        "nudge_ratio": answer.nudge_ratio,
        "nudging_words": answer.nudging_words,
    }
    if answer.logprobs is not None:  # in OpenAI's shape
        metadata["logprobs"] = {"content": [asdict(token) for token in answer.logprobs]}
    return metadata


def token_usage(answers: Sequence[Answer]) -> dict[str, int]:
    """What the answers of one call cost together, in base-model tokens."""
    return {
        "prompt_tokens": sum(answer.usage.prompt_tokens for answer in answers),
        "completion_tokens": sum(answer.usage.completion_tokens for answer in answers),
        "total_tokens": sum(answer.usage.total_tokens for answer in answers),
    }
