"""Any server with OpenAI's `/v1/completions` and log-probabilities. Other kinds add what they have beyond it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, Field, model_validator
from typing_extensions import Self

from nudging.errors import UnsupportedModelError
from nudging.models.remote.completion import Completion, CutOffError, StreamedRequest
from nudging.models.remote.servers.listing import in_text, step_of
from nudging.models.remote.servers.server import Server
from nudging.prompting.conversation import Message
from nudging.step import Step


class CompletionsServer(Server):
    """A server of which nothing else is known. It is sent OpenAI's own arguments only."""

    kind = "an OpenAI-compatible server"

    def request(self, completion: Completion) -> StreamedRequest:
        return StreamedRequest("/v1/completions", self.body(completion), CompletionParser)

    def body(self, completion: Completion) -> dict[str, Any]:
        """Return the arguments of OpenAI's completions."""
        return {
            "prompt": completion.text,
            "max_tokens": completion.limit,
            "temperature": 0,
            "stream": True,
            "logprobs": completion.listed,
            **completion.drawing,
        }

    def encode(self, text: str, special_tokens: bool) -> Sequence[int]:
        # the names of vLLM and of llama.cpp
        body = {"prompt": text, "content": text, "add_special_tokens": special_tokens, "add_special": special_tokens}
        return self.post("/tokenize", body, Tokens).tokens

    def render(self, messages: Sequence[Message]) -> str:
        conversation = {"messages": [dict(message) for message in messages], "add_generation_prompt": True}
        found = self.post("/tokenize", {**conversation, "add_special_tokens": False}, Tokens)
        return self.post("/detokenize", {"tokens": found.tokens}, Detokenized).prompt


class Tokens(BaseModel):
    """The answer of `/tokenize`."""

    tokens: list[int]


class Detokenized(BaseModel):
    """The answer of vLLM's `/detokenize`."""

    prompt: str


class _Listed(BaseModel):
    """A token in OpenAI's newer shape."""

    token: str
    logprob: float
    top_logprobs: list["_Listed"] = Field(default_factory=list)


class _Logprobs(BaseModel):
    """The tokens of a chunk, in OpenAI's shape of completions or, as llama.cpp's server sends them, of chats."""

    tokens: list[str] = Field(default_factory=list)
    token_logprobs: list[float | None] = Field(default_factory=list)
    top_logprobs: list[dict[str, float] | None] | None = None
    content: list[_Listed] | None = None

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        lengths = {len(self.tokens), len(self.token_logprobs), len(self.top_logprobs or self.tokens)}
        if len(lengths) > 1:
            raise ValueError("tokens, token_logprobs and top_logprobs have different lengths")
        return self

    def positions(self) -> list[tuple[str, float, list[tuple[str, float]]]]:
        """Return (token, its log-probability, the listed tokens with theirs) for each position.

        Raises:
            UnsupportedModelError: A token has no log-probability.
        """
        if self.content is not None:
            return [
                (one.token, one.logprob, [(top.token, top.logprob) for top in one.top_logprobs]) for one in self.content
            ]
        found = []
        for token, own, top in zip(
            self.tokens, self.token_logprobs, self.top_logprobs or [None] * len(self.tokens), strict=True
        ):
            logprob = (top or {}).get(token) if own is None else own
            if logprob is None:
                raise _no_logprobs()
            found.append((token, logprob, list((top or {}).items())))
        return found


class _Choice(BaseModel):
    text: str | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _Chunk(BaseModel):
    choices: list[_Choice] | None = None


ENDS = ("stop", "eos", "eos_token", "end_turn")
"""The reasons of servers for a completion that the model has ended."""

LIMITS = ("length", "max_tokens")
"""Their reasons for one that has as many tokens as were asked for."""

FAILED = ("abort", "error")
"""Their reasons for one that they could not finish."""


class CompletionParser:
    """Parses the chunks of one completion into steps.

    A chunk has text, and tokens with their log-probabilities. A token that leaves a character unfinished is an empty
    string, and the one that finishes the character brings all of it. Some servers list the end token (vLLM) and some
    do not; it is never part of the text. The same holds for other special tokens.
    """

    def __init__(self) -> None:
        self._finished = False
        self._chunks = self._choices = 0

    def push(self, chunk: Any) -> list[Step]:
        steps: list[Step] = []
        self._chunks += 1
        for choice in _Chunk.model_validate(chunk).choices or []:
            self._choices += 1
            positions = choice.logprobs.positions() if choice.logprobs else []
            if choice.text and not positions:
                raise _no_logprobs()
            if choice.text is None and not choice.finish_reason:
                raise UnsupportedModelError("its chunks have no text, so they are not those of /v1/completions")
            texts = in_text([token for token, _, _ in positions], choice.text or "")
            steps += [step_of(text, own, top) for text, (_, own, top) in zip(texts, positions, strict=True)]
            if self._is_end(choice.finish_reason):
                is_listed = bool(positions) and not steps[-1].text
                last = steps.pop() if is_listed else Step("", 1.0)
                steps.append(replace(last, text="", end=True))
        return steps

    def _is_end(self, reason: str | None) -> bool:
        """Return True if the model has ended its turn.

        Raises:
            CutOffError: The server could not finish the completion.
            UnsupportedModelError: It is not known what the reason means.
        """
        if not reason:
            return False
        if reason in FAILED:
            raise CutOffError(f"the completion ended with finish_reason {reason!r}")
        if reason not in (*ENDS, *LIMITS):
            raise UnsupportedModelError(
                f"its finish_reason is {reason!r}, and nudging knows {', '.join((*ENDS, *LIMITS))}"
            )
        self._finished = True
        return reason in ENDS

    def check_finished(self) -> None:
        if self._chunks and not self._choices:
            raise UnsupportedModelError("its replies have no choices, so they are not those of /v1/completions")
        if not self._finished:
            raise CutOffError("the stream ended in the middle of the completion")


def _no_logprobs() -> UnsupportedModelError:
    return UnsupportedModelError(
        "it sends no log-probabilities with completions, and nudging needs them. Use a server that has them (vLLM, "
        "llama.cpp, SGLang, Ollama), and check that they are not turned off"
    )
