"""A model on a server, decoding one answer."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import aclosing, closing, contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import accumulate, chain, takewhile
from threading import Lock
from typing import Final, Generic, TypeVar

from nudging._threads import in_thread
from nudging.answer import ModelUsage, TokenLogprob
from nudging.grammar.grammar import Grammar
from nudging.models.base import Hint, Sampling, Session, Tokenizer, fit_text
from nudging.models.remote.completion import Completion, StreamedRequest
from nudging.models.remote.constrained import Constrained
from nudging.models.remote.plans import Next, Open, Plan, free_steps
from nudging.models.remote.servers.server import Server
from nudging.step import FittedText, Step

S = TypeVar("S")


@dataclass(frozen=True)
class _Prefetched(Generic[S]):
    """The steps of a completion that was requested before it is asked for."""

    request: Open
    steps: S


class RemoteSession(Session):
    """A model on a server, decoding one answer.

    Args:
        server: The server.
        tokenizer: The model's tokenizer.
        context_length: The maximum number of tokens of prompt and answer together.
        prompt: The prompt as the model sees it.
        prompt_tokens: Its length in tokens.
        special_tokens: True if the prompt gets the tokenizer's own special tokens (BOS).
        sampling: How tokens are sampled. None decodes greedily.
        grammar: The grammar of the answer.
    """

    def __init__(
        self,
        server: Server,
        tokenizer: Tokenizer,
        context_length: int,
        prompt: str,
        prompt_tokens: int,
        special_tokens: bool,
        sampling: Sampling | None,
        grammar: Grammar | None,
    ) -> None:
        self._server, self._tokenizer, self._context_length = server, tokenizer, context_length
        self._client, self._prefetch_below = server.client, server.prefetch_below
        self._prompt, self._prompt_tokens = prompt, prompt_tokens
        self._id = blake2b(prompt.encode(), digest_size=8).hexdigest()
        self._special_tokens, self._sampling, self._grammar = special_tokens, sampling, grammar
        self._constrained: list[Constrained] = []  # one for each thread that is not at work
        self._requests = self._steps = 0
        self._counting = Lock()  # several threads make requests in `checks`
        self._prefetched: _Prefetched[Generator[Step | None, None, None]] | None = None
        self._aprefetched: _Prefetched[AsyncGenerator[Step | None, None]] | None = None

    def steps(self, text: str, limit: int, hint: Hint | None = None) -> Generator[Step, None, None]:
        with closing(self._run(self._plan(text, limit, hint))) as steps:
            for step in steps:
                self._steps += 1
                yield step

    async def asteps(self, text: str, limit: int, hint: Hint | None = None) -> AsyncGenerator[Step, None]:
        async with aclosing(self._arun(self._plan(text, limit, hint))) as steps:
            async for step in steps:
                self._steps += 1
                yield step

    def checks(self, text: str, run: Sequence[str]) -> list[Step]:
        texts = list(accumulate((text, *run)))
        if len(texts) == 1:
            return self._counted([self._first(text)])
        pool = ThreadPoolExecutor(len(texts))  # one short request each, at the same time
        try:
            first = [pool.submit(copy_context().run, self._first, so_far) for so_far in texts]
            for one in wait(first, return_when=FIRST_EXCEPTION).done:
                one.result()  # raises an error, also of a later one, before the others are done
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
        return list(self._run(self._plan(text, 1)))

    async def _afirst(self, text: str) -> list[Step]:
        async with aclosing(self._arun(self._plan(text, 1))) as steps:
            return [step async for step in steps]

    def _counted(self, found: Iterable[list[Step]]) -> list[Step]:
        """Return the steps up to the first text that fills the context, and count them."""
        steps = list(chain.from_iterable(takewhile(bool, found)))
        self._steps += len(steps)
        return steps

    def prefetch(self, text: str, limit: int, stop_below: float = 0.0) -> None:
        self.close()
        if self._may_prefetch:
            request = Open(text, limit, stop_below=self._stop_below(stop_below))
            self._prefetched = _Prefetched(request, self._completion(request))
            next(self._prefetched.steps, None)  # returns as soon as the request is under way

    async def aprefetch(self, text: str, limit: int, stop_below: float = 0.0) -> None:
        await self.aclose()
        if self._may_prefetch:
            request = Open(text, limit, stop_below=self._stop_below(stop_below))
            self._aprefetched = _Prefetched(request, self._acompletion(request))
            await anext(self._aprefetched.steps, None)

    def close(self) -> None:
        prefetched, self._prefetched = self._prefetched, None
        if prefetched:
            prefetched.steps.close()

    async def aclose(self) -> None:
        prefetched, self._aprefetched = self._aprefetched, None
        if prefetched:
            await prefetched.steps.aclose()

    @property
    def _may_prefetch(self) -> bool:
        return not self._grammar and self._client.concurrent < self._prefetch_below

    def _stop_below(self, threshold: float) -> float:
        return threshold if self._server.stops_when_unsure else 0.0

    @contextmanager
    def _follower(self, grammar: Grammar) -> Iterator[Constrained]:
        """Lend what follows the grammar, for one thread at a time."""
        try:
            constrained = self._constrained.pop()
        except IndexError:
            constrained = Constrained(grammar, self._server.can_choose_first, self._count)
        try:
            yield constrained
        finally:
            self._constrained.append(constrained)

    def _plan(self, text: str, limit: int, hint: Hint | None = None) -> Plan:
        if not self._grammar:
            yield from free_steps(text, limit, self._stop_below(hint.stop_below if hint else 0.0))
            return
        with self._follower(self._grammar) as constrained:
            yield from constrained.steps(text, limit)

    def _run(self, plan: Plan) -> Generator[Step, None, None]:
        """Yield the steps of a plan."""
        opened: Generator[Step | None, None, None] = (step for step in list[Step]())
        reply: Step | None = None
        try:
            while (action := _next_action(plan, reply)) is not None:
                reply = None
                if isinstance(action, Step):
                    yield action
                    continue
                if isinstance(action, Open):
                    opened.close()
                    opened = self._open(action)
                reply = next((step for step in opened if step is not None), None)
        finally:
            opened.close()
            plan.close()

    async def _arun(self, plan: Plan) -> AsyncGenerator[Step, None]:
        """Run `_run` on an event loop."""
        opened: AsyncGenerator[Step | None, None] = _nothing()
        reply: Step | None = None
        try:
            while (action := await self._anext_action(plan, reply)) is not None:
                reply = None
                if isinstance(action, Step):
                    yield action
                    continue
                if isinstance(action, Open):
                    await opened.aclose()
                    opened = await self._aopen(action)
                while reply is None and (found := await anext(opened, _END)) is not _END:
                    reply = found
        finally:
            await opened.aclose()
            plan.close()

    async def _anext_action(self, plan: Plan, reply: Step | None) -> Open | Next | Step | None:
        if self._grammar:  # compiling it takes a while, and forced text is tokenized, perhaps on the server
            return await in_thread(_next_action, plan, reply)
        return _next_action(plan, reply)

    def _open(self, request: Open) -> Generator[Step | None, None, None]:
        """Return the steps of a completion, which was perhaps prefetched."""
        prefetched, self._prefetched = self._prefetched, None
        if prefetched and prefetched.request == request:
            return prefetched.steps
        if prefetched:
            prefetched.steps.close()
        return self._completion(request)

    async def _aopen(self, request: Open) -> AsyncGenerator[Step | None, None]:
        prefetched, self._aprefetched = self._aprefetched, None
        if prefetched and prefetched.request == request:
            return prefetched.steps
        if prefetched:
            await prefetched.steps.aclose()
        return self._acompletion(request)

    def _completion(self, request: Open) -> Generator[Step | None, None, None]:
        if streamed := self._request(request):
            with self._counting:
                self._requests += 1
            yield from self._client.completion(streamed)

    async def _acompletion(self, request: Open) -> AsyncGenerator[Step | None, None]:
        if streamed := await in_thread(self._request, request):
            self._requests += 1
            async with aclosing(self._client.acompletion(streamed)) as steps:
                async for step in steps:
                    yield step

    def fit(self, text: str, limit: int) -> FittedText:
        return fit_text(text, limit, self._count)

    async def afit(self, text: str, limit: int) -> FittedText:
        return await in_thread(self.fit, text, limit)

    def check_score(self) -> None:
        self._server.check_score()

    def score(self, text: str, start: str = "", alternatives: int = 0) -> list[TokenLogprob]:
        self._requests += 1
        before, tokens = self._prompt + start, self._prompt_tokens
        if start:
            tokens = len(self._tokenizer.encode(before, special_tokens=self._special_tokens))
        return self._server.score(before, text[len(start) :], tokens, self._special_tokens, alternatives)

    def usage(self) -> ModelUsage:
        return ModelUsage(self._prompt_tokens, self._steps, self._steps, self._requests)

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, special_tokens=False))

    def _request(self, request: Open) -> StreamedRequest | None:
        """Return the request for a completion, or None if the context is full."""
        text, limit, tokens = request.text, request.limit, []
        fits = self._prompt_tokens + len(text.encode()) + limit <= self._context_length  # a token has at least one byte
        if self._server.takes_tokens or not fits:
            tokens = self._tokenizer.encode(self._prompt + text, special_tokens=self._special_tokens)
            limit = min(limit, self._context_length - len(tokens))
        if limit <= 0:
            return None
        completion = Completion(
            self._prompt,
            text,
            limit,
            self._special_tokens,
            self._sampling,
            _seed(self._sampling.seed, text) if self._sampling else 0,
            self._server.most_listed if self._grammar else 1,
            tokens,
            request.first,
            request.stop_below,
            request.skip,
        )
        return replace(self._server.request(completion), session=self._id)


def _next_action(plan: Plan, reply: Step | None) -> Open | Next | Step | None:
    """Return the next action of a plan, or None after the last one."""
    try:
        return plan.send(reply)
    except StopIteration:
        return None


_END: Final = Step("", 0.0)
"""Stands for the end of a stream, which may hold None."""


async def _nothing() -> AsyncGenerator[Step | None, None]:
    return
    yield


def _seed(seed: str, text: str) -> int:
    """Return a seed that depends only on the answer's seed and on the text so far."""
    return int.from_bytes(blake2b(f"{seed}:{text}".encode(), digest_size=4).digest(), "big") >> 1
