"""Metadata of answers, for `response_metadata` and `generation_info`.

LangChain merges the metadata of streamed chunks by adding values. So every value here is of a plain type and can be
added, except `author`: the chunk classes here set it anew in a sum.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeVar, cast

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import GenerationChunk
from nudging import Answer, Piece
from pydantic import SerializerFunctionWrapHandler, model_serializer

Total = TypeVar("Total", AIMessageChunk, GenerationChunk)


def pieces_metadata(pieces: Sequence[Piece]) -> dict[str, Any]:
    """Return the authors and texts of a chunk's one piece, or of all pieces of an answer."""
    metadata: dict[str, Any] = {"pieces": [{"text": piece.text, "author": piece.author} for piece in pieces]}
    return {"author": authors(metadata["pieces"]), **metadata}


def authors(pieces: Sequence[dict[str, Any]]) -> str:
    """Return each author of the pieces once, in order: "nudging+base"."""
    return "+".join(dict.fromkeys(piece["author"] for piece in pieces))


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
        "author": pieces_metadata(answer.pieces)["author"],
        "model_name": " + ".join(model_names),
        "model_provider": "nudging",
        "base": {"model_name": base, **asdict(answer.usage.base)},
        "nudging": {"model_name": nudging, **asdict(answer.usage.nudging)},
        "token_usage": _token_usage([answer]),
        "finish_reason": answer.finish_reason,
        "nudge_ratio": answer.nudge_ratio,
        "rule": dict(answer.rule),
        "nudging_words": list(answer.nudging_words),
    }
    if answer.logprobs is not None:  # in OpenAI's shape
        metadata["logprobs"] = {"content": [token.to_dict() for token in answer.logprobs]}
    return metadata


def llm_output(answers: Sequence[Answer], model_names: tuple[str, str]) -> dict[str, Any]:
    """Return the `llm_output` of a call: the names of the models, and the sum of all answers' base-model tokens."""
    return {"token_usage": _token_usage(answers), "model_name": " + ".join(model_names)}


def combined_llm_outputs(outputs: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
    """Return the `llm_output` of several prompts: the sum of their token counts. A cached answer has none."""
    given = [output for output in outputs if output]
    if not given:
        return {}
    usage = {name: sum(output["token_usage"][name] for output in given) for name in given[0]["token_usage"]}
    return {**given[0], "token_usage": usage}


def _token_usage(answers: Sequence[Answer]) -> dict[str, int]:
    names = "prompt_tokens", "completion_tokens", "total_tokens"
    return {name: sum(getattr(answer.usage, name) for answer in answers) for name in names}


class AuthoredChunk(AIMessageChunk):
    """A message chunk with its author. The sum of chunks is an `AIMessageChunk` with each author once.

    A serialized chunk has the author in `pieces` only, and the last one has the authors of the whole answer. So chunks
    add up after they were sent over a wire too.
    """

    def __add__(self, other: Any) -> AIMessageChunk:  # type: ignore[override]
        return _with_authors(cast("AIMessageChunk", self._plain() + other))

    def __radd__(self, other: Any) -> AIMessageChunk:
        return _with_authors(cast("AIMessageChunk", other + self._plain()))

    @classmethod
    def lc_id(cls) -> list[str]:
        return AIMessageChunk.lc_id()  # `load` knows that class

    def to_json(self) -> Any:
        return AIMessageChunk(**self.model_dump()).to_json()

    def _plain(self) -> AIMessageChunk:
        return AIMessageChunk.model_construct(self.model_fields_set, **self.__dict__)

    @model_serializer(mode="wrap")
    def _serialized(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = serialize(self)
        if self.chunk_position != "last" and "author" in document.get("response_metadata", {}):
            document["response_metadata"] = {**document["response_metadata"]}
            del document["response_metadata"]["author"]
        return document


class AuthoredGenerationChunk(GenerationChunk):
    """A chunk of text with its author. The sum of chunks is a `GenerationChunk` with each author once."""

    def __add__(self, other: GenerationChunk) -> GenerationChunk:
        return _with_authors(super().__add__(other))

    def __radd__(self, other: GenerationChunk) -> GenerationChunk:
        return _with_authors(GenerationChunk.__add__(other, self))


def _with_authors(total: Total) -> Total:
    metadata = total.generation_info if isinstance(total, GenerationChunk) else total.response_metadata
    if metadata and metadata.get("pieces"):
        metadata["author"] = authors(metadata["pieces"])
    return total
