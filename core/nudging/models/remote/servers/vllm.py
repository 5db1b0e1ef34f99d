"""vLLM."""

import re
from collections.abc import Callable
from functools import cached_property, partial
from logging import INFO
from typing import Any

from pydantic import BaseModel

from nudging._logging import log_once
from nudging.answer import TokenLogprob
from nudging.errors import ServerError
from nudging.models.remote.completion import Completion, Parser, StreamedRequest
from nudging.models.remote.servers.completions import CompletionParser, CompletionsServer
from nudging.step import Step

NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""vLLM takes what a request leaves out from the model's `generation_config.json`, so it is sent all of them."""

THRESHOLD, SKIP = "nudging_threshold", "nudging_skip"
"""The arguments of nudging-vllm: where it stops a request, and the number of tokens before that."""

SPECIAL = re.compile(r"<[^<>\s]+>")
"""The form of special tokens among listed tokens."""


class VllmServer(CompletionsServer):
    """vLLM's OpenAI-compatible server."""

    kind = "vLLM"
    adds_bos = False  # a request says so
    most_listed = 20  # more need --max-logprobs
    can_choose_first = True
    can_score = True

    @cached_property
    def stops_when_unsure(self) -> bool:  # type: ignore[override]
        """True if the package nudging-vllm is at work in this server: every token is unsure at a threshold of 1."""
        request = {"prompt": "a", "max_tokens": 2, "temperature": 0, "logprobs": 1, "vllm_xargs": {THRESHOLD: 1}}
        try:
            (choice,) = self.client.post("/v1/completions", request, _Probed).choices
        except ServerError as error:
            if error.status != 400:
                raise
            return False
        logprobs = choice.logprobs
        stops = len(logprobs.tokens) == 1 and logprobs.token_logprobs[0] < max(logprobs.top_logprobs[0].values())
        if not stops:
            log_once(f"the server at {self.client.url} would decode fewer tokens with nudging-vllm beside it", INFO)
        return stops

    def request(self, completion: Completion) -> StreamedRequest:
        parser: Callable[[], Parser] = CompletionParser
        if completion.stop_below:
            is_sampled = completion.sampling is not None
            parser = partial(_StoppedParser, completion.stop_below, completion.skip, is_sampled=is_sampled)
        return StreamedRequest("/v1/completions", self.body(completion), parser)

    def body(self, completion: Completion) -> dict[str, Any]:
        body = super().body(completion) | NEUTRAL | {"add_special_tokens": completion.special_tokens}
        if not completion.sampling:
            body["top_p"] = 1.0
        if completion.stop_below:
            body["vllm_xargs"] = {THRESHOLD: completion.stop_below, SKIP: completion.skip}
        if completion.first:
            body["structured_outputs"] = {"regex": rf"{completion.first}[\s\S]*"}
        return body

    def score(
        self, prompt: str, answer: str, prompt_tokens: int, special_tokens: bool, alternatives: int
    ) -> list[TokenLogprob]:
        request = {
            "prompt": prompt + answer,
            "max_tokens": 1,
            "prompt_logprobs": min(alternatives, self.most_listed),
            "add_special_tokens": special_tokens,
        }
        (choice,) = self.client.post("/v1/completions", request, _Scored).choices
        positions = [list(position.values()) for position in choice.prompt_logprobs[prompt_tokens:] if position]
        return [
            TokenLogprob(
                own.decoded_token,
                min(0.0, own.logprob),
                tuple(
                    TokenLogprob(one.decoded_token, min(0.0, one.logprob))
                    for one in sorted((own, *others), key=lambda one: -one.logprob)[:alternatives]
                ),
            )
            for own, *others in positions  # the prompt's own token is the first one that is listed
        ]


class _StoppedParser(CompletionParser):
    """Parses a completion that nudging-vllm may have ended. Its end is then that of the request, not of the turn.

    A greedy request has the end token in place of the unsure one, which is the most probable one that is listed there.
    A request that samples has it after the unsure one.
    """

    def __init__(self, stop_below: float, skip: int, *, is_sampled: bool) -> None:
        super().__init__()
        self._stop_below, self._skip, self._is_sampled = stop_below, skip, is_sampled
        self._count = 0
        self._is_unsure = False  # at the last step

    def push(self, chunk: Any) -> list[Step]:
        steps: list[Step] = []
        for step in super().push(chunk):
            self._count += 1
            was_unsure = self._is_unsure
            self._is_unsure = self._count > self._skip and step.probability < self._stop_below
            if not step.end:
                steps.append(step)
            elif self._is_sampled:
                steps += [] if was_unsure else [step]
            elif step.own_probability == step.probability:
                steps.append(step)
            elif not SPECIAL.fullmatch(unsure := step.alternatives[0].text):
                steps.append(Step(unsure, step.probability))
        return steps


class _ProbedLogprobs(BaseModel):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]


class _ProbedChoice(BaseModel):
    logprobs: _ProbedLogprobs


class _Probed(BaseModel):
    choices: list[_ProbedChoice]


class _ScoredToken(BaseModel):
    decoded_token: str
    logprob: float


class _ScoredChoice(BaseModel):
    prompt_logprobs: list[dict[str, _ScoredToken] | None]  # by token id; the first one has none


class _Scored(BaseModel):
    choices: list[_ScoredChoice]
