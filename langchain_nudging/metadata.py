"""Metadata of answers, for `response_metadata` and `generation_info`.

LangChain merges the metadata of streamed chunks by adding values. So every value here can be added.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from nudging import Answer, Piece


class Authors(str):
    """The authors of a chunk. Adding chunks keeps each author once: "nudging+base"."""

    __slots__ = ()

    def __add__(self, other: str) -> "Authors":
        return self if other in self.split("+") else Authors(f"{self}+{other}")


def pieces_metadata(pieces: Sequence[Piece]) -> dict[str, Any]:
    """Return the authors and texts of a chunk's one piece, or of all pieces of an answer."""
    return {
        "author": Authors("+".join(dict.fromkeys(piece.author for piece in pieces))),
        "pieces": [{"text": piece.text, "author": piece.author} for piece in pieces],
    }


def answer_metadata(answer: Answer, model_names: tuple[str, str]) -> dict[str, Any]:
    """Return all metadata of an answer that was not streamed."""
    return pieces_metadata(answer.pieces) | final_metadata(answer, model_names)


def final_metadata(answer: Answer, model_names: tuple[str, str]) -> dict[str, Any]:
    """Return the metadata of the last chunk of a stream: everything but the pieces, which earlier chunks had.

    Args:
        answer: The complete answer.
        model_names: The names of the base model and of the nudging model.
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


def llm_output(answers: Sequence[Answer], model_names: tuple[str, str]) -> dict[str, Any]:
    """Return the `llm_output` of a call: the names of the models, and the sum of all answers' base-model tokens."""
    names = "prompt_tokens", "completion_tokens", "total_tokens"
    usage = {name: sum(getattr(answer.usage, name) for answer in answers) for name in names}
    return {"token_usage": usage, "model_name": " + ".join(model_names)}
