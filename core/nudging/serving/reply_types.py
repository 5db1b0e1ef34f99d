"""The types of all replies: OpenAI's own, with a field `nudging` in each choice for the authors of its text."""

from typing import Literal

from openai.types import Completion, ErrorObject, Model, completion_choice
from openai.types.chat import ChatCompletion, ChatCompletionChunk, chat_completion, chat_completion_chunk
from pydantic import BaseModel, Field

from nudging.answer import Author


class AuthoredText(BaseModel):
    """A piece of an answer and the model that wrote it."""

    text: str
    author: Author


class Authorship(BaseModel):
    """The authors of a whole answer."""

    nudge_ratio: float = Field(description="Share of the answer's tokens that the nudging model wrote, in [0, 1]")
    rule: dict[str, str | float] = Field(description="The rule that decided who writes, and its numbers")
    pieces: list[AuthoredText]


class ChatChoice(chat_completion.Choice):
    nudging: Authorship


class ChatReply(ChatCompletion):
    choices: list[ChatChoice]  # type: ignore[assignment]  # narrower than OpenAI's, as in the other replies


class ChatChunkChoice(chat_completion_chunk.Choice):
    nudging: AuthoredText | None = None


class ChatChunk(ChatCompletionChunk):
    choices: list[ChatChunkChoice]  # type: ignore[assignment]


class CompletionChoice(completion_choice.CompletionChoice):
    nudging: Authorship


class CompletionReply(Completion):
    choices: list[CompletionChoice]  # type: ignore[assignment]


class CompletionChunkChoice(completion_choice.CompletionChoice):
    finish_reason: Literal["stop", "length"] | None  # type: ignore[assignment]  # None until the last chunk
    nudging: AuthoredText | None = None


class CompletionChunk(Completion):
    choices: list[CompletionChunkChoice]  # type: ignore[assignment]


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class ErrorReply(BaseModel):
    error: ErrorObject
