"""A model on a server, decoding one answer."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from contextvars import copy_context
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate, chain, takewhile
from threading import Lock
from typing import Any, Generic, TypeVar

from nudging._threads import in_thread
from nudging.answer import ModelUsage, TokenLogprob
from nudging.errors import UnsupportedModelError
from nudging.models.base import Hint, Sampling, Session, Tokenizer, fit_text
from nudging.models.remote.client import Client
from nudging.step import FittedText, Step

S = TypeVar("S")


@dataclass(frozen=True)
class _Prefetched(Generic[S]):
    """Steps that were requested before they are asked for."""

    text: str
    limit: int
    steps: S

    def matches(self, text: str, limit: int) -> bool:
        return (self.text, self.limit) == (text, limit)


class RemoteSession(Session):
    """A model on a server, decoding one answer.

    Args:
        client: The client of the server.
        tokenizer: The model's tokenizer.
        context_length: The maximum number of tokens of prompt and answer together.
        prompt: The prompt as the model sees it.
        prompt_tokens: Its length in tokens.
        special_tokens: True if the server adds the tokenizer's special tokens (BOS) to the prompt.
        sampling: How tokens are sampled. None decodes greedily.
    """

    def __init__(
        self,
        client: Client,
        tokenizer: Tokenizer,
        context_length: int,
        prompt: str,
        prompt_tokens: int,
        special_tokens: bool,
        sampling: Sampling | None,
    ) -> None:
        self._client, self._tokenizer, self._context_length = client, tokenizer, context_length
        self._prompt, self._prompt_tokens = prompt, prompt_tokens
        self._special_tokens, self._sampling = special_tokens, sampling
        self._requests = self._steps = 0
        self._counting = Lock()  # several threads make requests in `checks`
        self._prefetched: _Prefetched[Generator[Step | None, None, None]] | None = None
        self._aprefetched: _Prefetched[AsyncGenerator[Step | None, None]] | None = None

    def steps(self, text: str, limit: int, hint: Hint | None = None) -> Generator[Step, None, None]:
        prefetched, self._prefetched = self._prefetched, None
        if prefetched and not prefetched.matches(text, limit):
            prefetched.steps.close()
            prefetched = None
        with closing(prefetched.steps if prefetched else self._completion(text, limit)) as steps:
            for step in steps:
                if step is not None:
                    self._steps += 1
                    yield step

    def checks(self, text: str, run: Sequence[str]) -> list[Step]:
        texts = list(accumulate((text, *run)))
        if len(texts) == 1:
            return self._counted([self._first(text)])
        pool = ThreadPoolExecutor(len(texts))  # one short request each, at the same time
        try:
            first = [pool.submit(copy_context().run, self._first, so_far) for so_far in texts]
            return self._counted([one.result() for one in first])
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # an error reaches the caller while others are retried

    async def achecks(self, text: str, run: Sequence[str]) -> list[Step]:
        first = [asyncio.create_task(self._afirst(so_far)) for so_far in accumulate((text, *run))]
        try:
            return self._counted(await asyncio.gather(*first))
        finally:
            for unfinished in first:
                unfinished.cancel()
            await asyncio.gather(*first, return_exceptions=True)

    def _first(self, text: str) -> list[Step]:
        # read to its end, or its connection could not be used again
        return [step for step in self._completion(text, 1) if step is not None][:1]

    async def _afirst(self, text: str) -> list[Step]:
        async with aclosing(self._acompletion(text, 1)) as steps:
            return [step async for step in steps if step is not None][:1]

    def _counted(self, found: Iterable[list[Step]]) -> list[Step]:
        """Return the steps up to the first text that fills the context, and count them."""
        steps = list(chain.from_iterable(takewhile(bool, found)))
        self._steps += len(steps)
        return steps

    def prefetch(self, text: str, limit: int) -> None:
        self.close()
        if self._client.has_capacity:
            self._prefetched = _Prefetched(text, limit, self._completion(text, limit))
            next(self._prefetched.steps, None)  # returns as soon as the request is under way

    def close(self) -> None:
        prefetched, self._prefetched = self._prefetched, None
        if prefetched:
            prefetched.steps.close()

    async def asteps(self, text: str, limit: int, hint: Hint | None = None) -> AsyncGenerator[Step, None]:
        prefetched, self._aprefetched = self._aprefetched, None
        if prefetched and not prefetched.matches(text, limit):
            await prefetched.steps.aclose()
            prefetched = None
        async with aclosing(prefetched.steps if prefetched else self._acompletion(text, limit)) as steps:
            async for step in steps:
                if step is not None:
                    self._steps += 1
                    yield step

    async def aprefetch(self, text: str, limit: int) -> None:
        await self.aclose()
        if self._client.has_capacity:
            self._aprefetched = _Prefetched(text, limit, self._acompletion(text, limit))
            await anext(self._aprefetched.steps, None)

    async def aclose(self) -> None:
        prefetched, self._aprefetched = self._aprefetched, None
        if prefetched:
            await prefetched.steps.aclose()

    def _completion(self, text: str, limit: int) -> Generator[Step | None, None, None]:
        limit = min(limit, self._room(text, limit))
        if limit > 0:
            with self._counting:
                self._requests += 1
            yield from self._client.completion(self._request(text, limit))

    async def _acompletion(self, text: str, limit: int) -> AsyncGenerator[Step | None, None]:
        limit = min(limit, await in_thread(self._room, text, limit))
        if limit > 0:
            self._requests += 1
            async with aclosing(self._client.acompletion(self._request(text, limit))) as steps:
                async for step in steps:
                    yield step

    def fit(self, text: str, limit: int) -> FittedText:
        return fit_text(text, limit, self._count)

    async def afit(self, text: str, limit: int) -> FittedText:
        return await in_thread(self.fit, text, limit)

    def score(self, text: str) -> list[TokenLogprob]:
        request = {
            "prompt": self._prompt + text,
            "max_tokens": 1,
            "prompt_logprobs": 0,
            "add_special_tokens": self._special_tokens,
        }
        self._requests += 1
        listed = self._client.post("/v1/completions", request)["choices"][0].get("prompt_logprobs")
        if listed is None:
            raise UnsupportedModelError(
                f"the server at {self._client.url} cannot score a given text (it has no prompt_logprobs): leave "
                "logprobs out"
            )
        return [
            TokenLogprob(one["decoded_token"], min(0.0, one["logprob"]))
            for position in listed[self._prompt_tokens :]
            for one in position.values()
        ]

    def usage(self) -> ModelUsage:
        return ModelUsage(self._prompt_tokens, self._steps, self._steps, self._requests)

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, special_tokens=False))

    def _room(self, text: str, limit: int) -> int:
        """Return the number of steps for which the context has room, at least up to the limit."""
        if self._prompt_tokens + len(text.encode()) + limit <= self._context_length:  # a token has at least one byte
            return limit
        tokens = self._tokenizer.encode(self._prompt + text, special_tokens=self._special_tokens)
        return self._context_length - len(tokens)

    def _request(self, text: str, limit: int) -> dict[str, Any]:
        request: dict[str, Any] = {"prompt": self._prompt + text, "max_tokens": limit, "temperature": 0}
        if self._sampling:
            request |= {
                "temperature": self._sampling.temperature,
                "top_p": self._sampling.top_p,
                "seed": _seed(self._sampling.seed, text),
            }
        # a field of vLLM; servers that do not know it ignore it
        return request | {"extra_body": {"add_special_tokens": self._special_tokens}}


def _seed(seed: str, text: str) -> int:
    """Return a seed that depends only on the answer's seed and on the text so far."""
    return int.from_bytes(blake2b(f"{seed}:{text}".encode(), digest_size=4).digest(), "big") >> 1
