"""The body of `POST /v1/completions`. A prompt is the user's message of a conversation."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from nudging.serving.requests import Call, CompletionsRequest, Text, unsupported


class CompletionRequest(CompletionsRequest):
    """The body of `POST /v1/completions`."""

    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=64)]
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: Annotated[Any, unsupported("an answer never repeats its prompt", False)] = None
    suffix: Annotated[Any, unsupported("an answer has no suffix", "")] = None
    best_of: Annotated[Any, unsupported("answers are not ranked: send n", 1)] = None

    @property
    def calls(self) -> Sequence[Call]:
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        return [call for prompt in prompts for call in self.answers_to(prompt)]

    @property
    def alternatives(self) -> int | None:
        value: int | None = self.logprobs
        return value
