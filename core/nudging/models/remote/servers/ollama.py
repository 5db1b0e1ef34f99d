"""Ollama, through `/api/generate`. Its `/v1/completions` applies the chat template and drops the log-probabilities.

Source: api/types.go, server/routes.go and server/logprob.go of github.com/ollama/ollama, August 2026.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from nudging.errors import UnsupportedModelError
from nudging.models.remote.completion import Completion, CutOffError, StreamedRequest
from nudging.models.remote.ollama_store import stored_gguf
from nudging.models.remote.servers.listing import step_of
from nudging.models.remote.servers.server import Server
from nudging.step import Step

NEUTRAL = {
    "temperature": 0,
    "top_k": 0,
    "top_p": 1,
    "min_p": 0,
    "typical_p": 1,
    "repeat_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}
"""Its defaults are for chats, and a Modelfile may change all of them."""


class OllamaServer(Server):
    """Ollama. It tokenizes and renders nothing, so the tokenizer is that of the user."""

    kind = "Ollama"
    most_listed = 20
    prefetch_below = 1  # it decodes one request at a time, unless OLLAMA_NUM_PARALLEL is set

    @cached_property
    def context_length(self) -> int | None:
        """The length of the loaded model's context. A request for another length would load the model again."""
        self.client.post("/api/generate", {"prompt": "", "stream": False}, _Loaded)
        loaded = self.client.get("/api/ps", _Running).models
        name = self.card.id.removesuffix(":latest")
        return next((one.context_length for one in loaded if one.name.removesuffix(":latest") == name), None)

    def request(self, completion: Completion) -> StreamedRequest:
        body = {
            "model": self.card.id,
            "prompt": completion.text,
            "raw": True,
            "stream": True,
            "think": False,  # or it would be on for models that can
            "truncate": False,
            "shift": False,
            "logprobs": True,
            "top_logprobs": completion.listed,
            "options": {**NEUTRAL, "num_predict": completion.limit, **completion.drawing},
        }
        return StreamedRequest("/api/generate", body, _Parser, is_ndjson=True)

    def encode(self, text: str, special_tokens: bool) -> Sequence[int]:
        raise UnsupportedModelError(
            f"Ollama at {self.client.url} does not tokenize, and no file of {self.card.id} is in its store on this "
            f"machine (OLLAMA_MODELS): name the model's tokenizer as {self.client.author}_tokenizer='…' (a hub id, a "
            "folder or a GGUF file)"
        )

    def tokenizer_file(self) -> Path | None:
        return stored_gguf(self.card.id)


class _Loaded(BaseModel):
    done: bool


class _RunningModel(BaseModel):
    name: str
    context_length: int | None = None


class _Running(BaseModel):
    models: list[_RunningModel] = Field(default_factory=list)


class _Listed(BaseModel):
    token: str
    logprob: float
    top_logprobs: list["_Listed"] = Field(default_factory=list)


class _Chunk(BaseModel):
    response: str = ""
    done: bool = False
    done_reason: str | None = None
    logprobs: list[_Listed] = Field(default_factory=list)


MOST_REPEATS = 30
"""After so many repeats of a text, without the spaces around it, Ollama ends the stream without a last line."""


class _Parser:
    """Parses the lines of one reply into steps. Tokens without text are left out by Ollama, also the end token."""

    def __init__(self) -> None:
        self._is_finished = False
        self._last, self._repeats = "", 0

    def push(self, chunk: Any) -> list[Step]:
        found = _Chunk.model_validate(chunk)
        if found.response and not found.logprobs:
            raise UnsupportedModelError("it sends no log-probabilities. Ollama has them from version 0.12.11 on")
        steps = [
            step_of(one.token, one.logprob, [(top.token, top.logprob) for top in one.top_logprobs])
            for one in found.logprobs
        ]
        if found.response:
            text = found.response.strip()
            self._repeats = self._repeats + 1 if text == self._last else 0
            self._last = text
        if found.done:
            self._is_finished = True
            if found.done_reason == "stop":
                steps.append(Step("", 1.0, end=True))
        return steps

    def check_finished(self) -> None:
        if not self._is_finished and self._repeats < MOST_REPEATS:
            raise CutOffError("the stream ended in the middle of the completion")
