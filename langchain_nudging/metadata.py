"""What LangChain hears about an answer besides its text, in `response_metadata` and `generation_info`.

LangChain adds up the metadata of chunks, so every entry here has a sum that means something.
"""

from collections.abc import Sequence
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


def answer_metadata(answer: Answer, model_name: str) -> dict[str, Any]:
    """Of the answer as a whole, which its last chunk brings."""
    return {
        "model_name": model_name,
        "finish_reason": answer.finish_reason,
        "nudge_ratio": answer.nudge_ratio,
        "nudging_words": answer.nudging_words,
    }
