"""The seam: a model answers one question, *which steps follow this text?*

A new kind of model is a `Model` that opens `Session`s. The rule sees neither; the drivers in `decoding`
see nothing else.
"""

import asyncio
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

from nudging.answer import ModelUsage, TokenLogprob
from nudging.errors import ContextLengthError, PromptError
from nudging.grammar.grammar import Grammar
from nudging.rule import Fitted, Step
from nudging.tools.parsing import Reading

Message: TypeAlias = Mapping[str, Any]
"""One turn of a conversation: `role` (system, user, assistant, tool) and `content`; with an assistant's calls of tools
`tool_calls`, and with a tool's answer `tool_call_id`, as OpenAI has them."""

Role: TypeAlias = Literal["base", "nudging"]
"""A base prompt is plain text, and gets the tokenizer's own special tokens (BOS). A nudging prompt is rendered."""

T = TypeVar("T")

_threads = ThreadPoolExecutor(64, thread_name_prefix="nudging")
"""For event loops. Most of them only wait for forward passes; asyncio's own pool has a few for each core."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. The draw at a position is a function of `seed` and that position, so that asking again,
    with a hint or without, gives the same token.

    Args:
        temperature: Above 0.
        top_p: Draw from the most probable tokens that together reach this probability.
        seed: Any string.
    """

    temperature: float
    top_p: float
    seed: str


@dataclass(frozen=True, slots=True)
class Hint:
    """What may well come next. It may save work, and never changes a step.

    Args:
        text: What the other model wrote.
        more: What the other model would write after an answer, in so many of its tokens.
    """

    text: str = ""
    more: Callable[[str, int], str] | None = None


class Session(ABC):
    """One model at work on one answer. Not for several threads at once; a model may have several sessions."""

    @abstractmethod
    def steps(self, text: str, limit: int, hint: Hint | None = None) -> Generator[Step, None, None]:
        """The model's steps after its prompt and `text`, made as they are asked for.

        Ends after the step with `end`, after `limit` steps, or where the model's context is full. Closing it stops
        the work.

        Args:
            text: The answer so far.
            limit: How many steps at most.
            hint: What the caller believes comes next. Without one, every step is made by itself.
        """

    @abstractmethod
    def fit(self, text: str, limit: int) -> Fitted:
        """The longest beginning of `text` that is at most `limit` of this model's tokens."""

    @abstractmethod
    def score(self, text: str) -> list[TokenLogprob]:
        """How probable this model finds each of its tokens of an answer."""

    @abstractmethod
    def usage(self) -> ModelUsage:
        """What this session did so far."""

    def expect(self, text: str, limit: int) -> None:  # noqa: B027 (for models that can work while another one does)
        """`steps(text, limit)` will probably be asked for next."""

    def close(self) -> None:  # noqa: B027 (most sessions hold nothing)
        """Give back what the session holds."""

    async def asteps(self, text: str, limit: int, hint: Hint | None = None) -> AsyncGenerator[Step, None]:
        """`steps` without blocking the event loop: each step is made in a thread."""
        steps = self.steps(text, limit, hint)
        try:
            while (step := await in_thread(next, steps, None)) is not None:
                yield step
        finally:
            steps.close()

    async def aexpect(self, text: str, limit: int) -> None:
        """`expect` without blocking the event loop."""
        self.expect(text, limit)

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        self.close()

    async def afit(self, text: str, limit: int) -> Fitted:
        """`fit` without blocking the event loop for longer than tokenizing `text` takes."""
        return self.fit(text, limit)


def fitted(text: str, limit: int, count: Callable[[str], int]) -> Fitted:
    """The longest beginning of a text that is at most `limit` tokens long, as `count` counts them."""
    tokens = count(text)
    if tokens > limit:
        text = text[: bisect_right(range(len(text)), limit, key=lambda end: count(text[:end])) - 1]
        tokens = count(text)
    return Fitted(text, tokens)


class Model(ABC):
    """A model that can be asked for its next steps, and from whose chat template prompts are rendered."""

    name: str

    @abstractmethod
    def session(
        self,
        prompt: str,
        *,
        role: Literal["base", "nudging"],
        sampling: Sampling | None = None,
        grammar: Grammar | None = None,
    ) -> Session:
        """A session on this prompt, light: nothing is computed until steps are asked for.

        Args:
            prompt: As the model shall see it.
            role: As a base model the prompt gets the tokenizer's own special tokens (BOS); a nudging prompt is rendered
                already and gets none.
            sampling: None for greedy decoding.
            grammar: What the answer may be. No step leads out of it, and a step that it forces costs nothing.

        Raises:
            GrammarError: This kind of model cannot be held to a grammar.
            PromptError: The prompt is empty.
            ContextLengthError: It leaves no room for an answer in the model's context.
        """

    @abstractmethod
    def render(
        self, messages: Sequence[Message], template: str | None = None, tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """The conversation through the model's chat template, up to where its answer begins.

        Args:
            messages: The conversation, no two neighbours with one role.
            template: A Jinja chat template to use in place of the model's own.
            tools: What may be called. A template with no place for them finds them in the system turn.

        Raises:
            ChatTemplateError: There is no template, or it fails on this conversation.
        """

    @abstractmethod
    def encode(self, text: str, *, special_tokens: bool) -> list[int]:
        """The tokens of a text, with the tokenizer's own special tokens (BOS) or without."""

    def read_calls(self, text: str, prompt: str, tools: Sequence[Mapping[str, Any]]) -> Reading | None:
        """An answer to this prompt as the model's own parser reads it; None if it has none, or finds no call."""
        return None

    @property
    @abstractmethod
    def context_length(self) -> int:
        """How many of its tokens the model can see, prompt and answer together."""

    def check_room(self, tokens: int, role: Literal["base", "nudging"]) -> None:
        """Whether a prompt of so many tokens can be gone on from.

        Raises:
            PromptError: It is empty.
            ContextLengthError: It leaves no room for an answer in the model's context.
        """
        if not tokens:
            raise PromptError(f"the {role} prompt is empty: {self.name} needs at least one token to go on from")
        if tokens >= self.context_length:
            raise ContextLengthError(
                f"the {role} prompt is {tokens} tokens long, and {self.name} has a context of {self.context_length}, "
                "for prompt and answer: shorten the prompt, or take a model with a longer one"
            )

    def load(self) -> None:  # noqa: B027 (not every model has something to load)
        """Make ready to answer, rather than at the first step.

        Raises:
            ModelError: The model cannot be loaded or used.
        """

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """All that makes this model answer as it does (name, revision, dtype, ...), for cache keys."""


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """The function's result, worked out in a thread.

    When the caller is cancelled, what runs in the thread is waited for before the cancellation goes on: nothing else
    may touch a KV cache in the middle of a forward pass.
    """
    work = asyncio.get_running_loop().run_in_executor(_threads, partial(copy_context().run, function, *args))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with suppress(asyncio.CancelledError):  # it is raised below
                await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # seen: asyncio complains of those that nobody looked at
        raise
