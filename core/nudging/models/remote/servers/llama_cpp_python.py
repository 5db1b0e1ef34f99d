"""The server of llama-cpp-python (`python -m llama_cpp.server`)."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from nudging.models.remote.completion import Completion, StreamedRequest
from nudging.models.remote.servers.completions import CompletionsServer, Tokens
from nudging.models.remote.servers.server import Server
from nudging.prompting.conversation import Message

NEUTRAL = {
    "top_k": 0,
    "top_p": 1,
    "min_p": 0,
    "repeat_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "mirostat_mode": 0,
}


class LlamaCppPythonServer(CompletionsServer):
    """llama-cpp-python's server.

    A stream with log-probabilities loses characters that take several tokens, so replies come whole. A new request
    ends the one before it, so there is one at a time.
    """

    kind = "llama-cpp-python"
    at_once = 1
    prefetch_below = 0

    def request(self, completion: Completion) -> StreamedRequest:
        return replace(super().request(completion), is_streamed=False)

    def body(self, completion: Completion) -> dict[str, Any]:
        return NEUTRAL | super().body(completion) | {"stream": False}

    def render(self, messages: Sequence[Message]) -> str:
        return Server.render(self, messages)

    def encode(self, text: str, special_tokens: bool) -> Sequence[int]:
        tokens = self.post("/extras/tokenize", {"input": text}, Tokens).tokens
        return tokens if special_tokens else tokens[self._special_tokens :]

    @cached_property
    def _special_tokens(self) -> int:
        """The number of special tokens that it adds to every text."""
        return len(self.post("/extras/tokenize", {"input": ""}, Tokens).tokens)
