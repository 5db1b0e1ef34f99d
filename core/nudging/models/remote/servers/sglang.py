"""SGLang.

Source: python/sglang/srt/entrypoints/openai of github.com/sgl-project/sglang, autumn 2026.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from nudging.answer import TokenLogprob
from nudging.models.remote.completion import Completion
from nudging.models.remote.servers.completions import CompletionsServer, Tokens
from nudging.models.remote.servers.server import Server, tempered
from nudging.prompting.conversation import Message

NEUTRAL = {"top_k": -1, "min_p": 0, "repetition_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0}


class SglangServer(CompletionsServer):
    """SGLang's OpenAI-compatible server. It is sent tokens, because every text gets a BOS there."""

    kind = "SGLang"
    most_listed = 20
    can_choose_first = True
    can_score = True
    adds_bos = False
    takes_tokens = True

    @property
    def context_length(self) -> int | None:
        length = super().context_length
        return length and length - 1  # older versions refuse a request that could fill the context

    def body(self, completion: Completion) -> dict[str, Any]:
        if completion.sampling and completion.sampling.temperature != 1:
            raise tempered(self, "temperature=0 or temperature=1")
        body = super().body(completion) | NEUTRAL | {"prompt": completion.tokens}
        if not completion.sampling:
            body["top_p"] = 1
        if completion.first:
            body["regex"] = rf"{completion.first}(.|\n)*"
        return body

    def encode(self, text: str, special_tokens: bool) -> Sequence[int]:
        return self.post("/tokenize", {"prompt": text, "add_special_tokens": special_tokens}, Tokens).tokens

    def render(self, messages: Sequence[Message]) -> str:
        return Server.render(self, messages)

    def score(
        self, prompt: str, answer: str, prompt_tokens: int, special_tokens: bool, alternatives: int
    ) -> list[TokenLogprob]:
        request = {
            "input_ids": self.encode(prompt + answer, special_tokens),
            "sampling_params": {"max_new_tokens": 1, "temperature": 0},
            "return_logprob": True,
            "logprob_start_len": 0,
            "return_text_in_logprobs": True,
        }
        listed = self.client.post("/generate", request, _Scored).meta_info.input_token_logprobs
        return [TokenLogprob(text or "", min(0.0, logprob or 0.0)) for logprob, _, text in listed[prompt_tokens:]]


class _Meta(BaseModel):
    input_token_logprobs: list[tuple[float | None, int, str | None]]


class _Scored(BaseModel):
    meta_info: _Meta
