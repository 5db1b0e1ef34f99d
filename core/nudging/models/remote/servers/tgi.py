"""Text Generation Inference, through `/generate_stream`. Its `/v1/completions` has no log-probabilities.

Source: router/src of github.com/huggingface/text-generation-inference, January 2026.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from pydantic import BaseModel, Field, RootModel

from nudging.answer import TokenLogprob
from nudging.models.remote.completion import Completion, CutOffError, StreamedRequest
from nudging.models.remote.servers.listing import step_of
from nudging.models.remote.servers.server import Server, tempered
from nudging.prompting.conversation import Message
from nudging.step import Step


class TgiServer(Server):
    """Text Generation Inference. Values that change nothing are left out: it refuses most of them."""

    kind = "TGI"
    most_listed = 5
    can_score = True

    @cached_property
    def context_length(self) -> int | None:
        info = self.client.get("/info", _Info)
        return min(info.max_total_tokens, info.max_input_tokens + 1)  # a request's input is prompt and answer

    def request(self, completion: Completion) -> StreamedRequest:
        parameters: dict[str, Any] = {
            "max_new_tokens": completion.limit,
            "details": True,
            "do_sample": False,
            "top_n_tokens": completion.listed,
        }
        if completion.sampling:
            if completion.sampling.temperature != 1 or completion.sampling.top_p < 1:
                raise tempered(self, "temperature=0, or temperature=1 with top_p=1")
            parameters |= {"do_sample": True, "temperature": 1.0, "seed": completion.seed}
        return StreamedRequest("/generate_stream", {"inputs": completion.text, "parameters": parameters}, _Parser)

    def encode(self, text: str, special_tokens: bool) -> Sequence[int]:
        tokens = [one.id for one in self.post("/tokenize", {"inputs": text}, _Tokens).root]
        return tokens if special_tokens else tokens[self._special_tokens :]

    def render(self, messages: Sequence[Message]) -> str:
        return self.post("/chat_tokenize", {"messages": [dict(one) for one in messages]}, _Rendered).templated_text

    def score(
        self, prompt: str, answer: str, prompt_tokens: int, special_tokens: bool, alternatives: int
    ) -> list[TokenLogprob]:
        parameters = {"max_new_tokens": 1, "details": True, "decoder_input_details": True}
        found = self.client.post("/generate", {"inputs": prompt + answer, "parameters": parameters}, _Scored)
        own = 0 if special_tokens else self._special_tokens
        return [
            TokenLogprob(one.text, min(0.0, one.logprob or 0.0)) for one in found.details.prefill[prompt_tokens + own :]
        ]

    @cached_property
    def _special_tokens(self) -> int:
        """The number of special tokens that it adds to every text."""
        return len(self.post("/tokenize", {"inputs": ""}, _Tokens).root)


class _Info(BaseModel):
    max_input_tokens: int
    max_total_tokens: int


class _Token(BaseModel):
    id: int
    text: str


class _Tokens(RootModel[list[_Token]]):
    pass


class _Rendered(BaseModel):
    templated_text: str


class _Listed(BaseModel):
    text: str
    logprob: float | None = None
    special: bool = False


class _Prefill(BaseModel):
    prefill: list[_Listed]


class _Scored(BaseModel):
    details: _Prefill


class _Details(BaseModel):
    finish_reason: str


class _Chunk(BaseModel):
    token: _Listed
    top_tokens: list[_Listed] = Field(default_factory=list)
    details: _Details | None = None


class _Parser:
    """Parses the chunks of one reply into steps, one token each. The end token has `special`, as others may."""

    def __init__(self) -> None:
        self._is_finished = False

    def push(self, chunk: Any) -> list[Step]:
        found = _Chunk.model_validate(chunk)
        own, *listed = [
            ("" if one.special else one.text, one.logprob or 0.0) for one in (found.token, *found.top_tokens)
        ]
        step = step_of(*own, listed)
        if found.details:
            self._is_finished = True
            if found.details.finish_reason == "eos_token":
                return [Step("", step.probability, True, step.sampled)]
        return [step]

    def check_finished(self) -> None:
        if not self._is_finished:
            raise CutOffError("the stream ended in the middle of the completion")
