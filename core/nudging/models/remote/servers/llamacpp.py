"""llama.cpp's server (`llama-server`), through its own endpoints.

Its `/v1/completions` adds a BOS to every text and has no token ids. `/completion` takes ids, so that the model sees
what it sees in this process.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, Field

from nudging.answer import TokenLogprob
from nudging.errors import UnsupportedModelError
from nudging.models.remote.completion import Completion, CutOffError, StreamedRequest
from nudging.models.remote.servers.listing import step_of
from nudging.models.remote.servers.server import Server
from nudging.prompting.conversation import Message
from nudging.step import Step

NEUTRAL = {
    "temperature": 0,
    "top_k": 0,
    "top_p": 1,
    "min_p": 0,
    "typical_p": 1,
    "top_n_sigma": -1,
    "repeat_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "dry_multiplier": 0,
    "xtc_probability": 0,
    "mirostat": 0,
    "dynatemp_range": 0,
    "samplers": ["top_p", "temperature"],
}
"""Its defaults are for chats, and its command line or the GGUF file may change all of them."""


class LlamaCppServer(Server):
    """llama.cpp's server."""

    kind = "llama.cpp"
    most_listed = 20
    can_choose_first = True
    can_score = True
    adds_bos = False
    takes_tokens = True

    @property
    def context_length(self) -> int | None:
        meta = self.card.meta or {}
        length = meta.get("n_ctx")
        return length if isinstance(length, int) else None

    @cached_property
    def prefetch_below(self) -> int:  # type: ignore[override]
        return self._props.total_slots

    def request(self, completion: Completion) -> StreamedRequest:
        body: dict[str, Any] = {
            **NEUTRAL,
            "prompt": completion.tokens,
            "n_predict": completion.limit,
            "n_probs": completion.listed,
            "cache_prompt": True,
            "stream": True,
            **completion.drawing,
        }
        if completion.first:
            body["grammar"] = rf"root ::= {completion.first} [\x00-\U0010ffff]*"
        return StreamedRequest("/completion", body, _Parser)

    def encode(self, text: str, special_tokens: bool) -> Sequence[int]:
        body = {"content": text, "add_special": special_tokens, "parse_special": True}
        return self.post("/tokenize", body, _Tokens).tokens

    def render(self, messages: Sequence[Message]) -> str:
        conversation = {"messages": [dict(message) for message in messages], "add_generation_prompt": True}
        prompt = self.post("/apply-template", conversation, _Rendered).prompt
        return self._stripped_bos + prompt

    def score(
        self, prompt: str, answer: str, prompt_tokens: int, special_tokens: bool, alternatives: int
    ) -> list[TokenLogprob]:
        """Return the log-probability of each token of an answer: a grammar forces the server to write it."""
        content = {"content": prompt + answer, "add_special": special_tokens, "with_pieces": True}
        tokens = self.post("/tokenize", content, _Pieces).tokens
        forced = tokens[prompt_tokens:]
        if not all(isinstance(token.piece, str) for token in forced):
            raise UnsupportedModelError(
                f"the {self.client.author} server at {self.client.url} (llama.cpp) cannot score this answer: it has no "
                "log-probabilities for tokens that are parts of a character. Leave logprobs out"
            )
        if not forced:
            return []
        body = {
            **NEUTRAL,
            "prompt": [token.id for token in tokens[:prompt_tokens]],
            "n_predict": len(forced),
            "n_probs": max(alternatives, 1),
            "grammar": "root ::= " + " ".join(f"<[{token.id}]>" for token in forced),
            "cache_prompt": True,
        }
        listed = self.client.post("/completion", body, _Chunk).completion_probabilities
        return [
            TokenLogprob(
                one.token,
                min(0.0, one.logprob),
                tuple(TokenLogprob(top.token, min(0.0, top.logprob)) for top in one.top_logprobs[:alternatives]),
            )
            for one in listed
        ]

    @cached_property
    def _props(self) -> "_Props":
        return self.client.get("/props", _Props)

    @cached_property
    def _stripped_bos(self) -> str:
        """The BOS at the start of the chat template, which the server strips from a rendered conversation."""
        bos, template = self._props.bos_token, self._props.chat_template
        is_stripped = bool(bos) and bool(self.encode("", True)) and ("bos_token" in template or bos in template)
        return bos if is_stripped else ""


class _Tokens(BaseModel):
    tokens: list[int]


class _Piece(BaseModel):
    id: int
    piece: str | list[int]  # bytes where it is not text


class _Pieces(BaseModel):
    tokens: list[_Piece]


class _Rendered(BaseModel):
    prompt: str


class _Props(BaseModel):
    total_slots: int = 1
    bos_token: str = ""
    chat_template: str = ""


class _Listed(BaseModel):
    id: int
    token: str
    logprob: float
    top_logprobs: list["_Listed"] = Field(default_factory=list)


class _Chunk(BaseModel):
    content: str
    stop: bool = False
    stop_type: Literal["none", "eos", "limit", "word"] = "none"
    tokens_predicted: int = 0
    completion_probabilities: list[_Listed] = Field(default_factory=list)


class _Parser:
    """Parses the chunks of one completion into steps.

    A chunk has one token, or all tokens of a character that takes several. Of those only the last one has
    probabilities, which stand for the others too. The end token comes before the last chunk, without text.
    """

    def __init__(self) -> None:
        self._decoded = 0  # tokens so far
        self._without_text: Step | None = None  # a special token, or the end token
        self._is_finished = False

    def push(self, chunk: Any) -> list[Step]:
        found = _Chunk.model_validate(chunk)
        waiting, self._without_text = self._without_text, None
        steps = [waiting] if waiting else []
        if found.stop:
            self._is_finished = True
            if found.stop_type == "eos":
                return [Step("", end.probability, True, end.sampled)] if (end := waiting) else [Step("", 1.0, end=True)]
            return steps
        for one in found.completion_probabilities:
            step = step_of(found.content, one.logprob, [(top.token, top.logprob) for top in one.top_logprobs])
            unfinished = Step("", step.probability, sampled=step.sampled)
            steps += [unfinished] * (found.tokens_predicted - self._decoded - 1)
            self._decoded = found.tokens_predicted
            if found.content:
                steps.append(step)
            else:
                self._without_text = step
        if found.content and not found.completion_probabilities:
            raise UnsupportedModelError("it sends no probabilities with its tokens (n_probs)")
        return steps

    def check_finished(self) -> None:
        if not self._is_finished:
            raise CutOffError("the stream ended in the middle of the completion")
