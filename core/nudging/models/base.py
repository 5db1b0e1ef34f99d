"""The seam between the rule and the models. A model answers one question: which steps follow this text?

A new kind of model is a `Model` that opens `Session`s and has a `Tokenizer`. The drivers in `stream.py` use nothing
else of it. `scripted.py` is the shortest example.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate, islice, takewhile
from typing import Any

from nudging._threads import in_thread
from nudging.answer import Author, ModelUsage, TokenLogprob
from nudging.errors import ContextLengthError, PromptError
from nudging.grammar.grammar import Grammar
from nudging.prompting.conversation import Message
from nudging.step import FittedText, Step
from nudging.tools.calls import ParsedAnswer


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are sampled.

    The draw at a position depends only on `seed` and that position. So asking again, with a hint or without, gives the
    same token.

    Args:
        temperature: The temperature, above 0.
        top_p: Sample from the most probable tokens that together reach this probability, in [0, 1]; one at least.
        seed: Any string.
    """

    temperature: float
    top_p: float
    seed: str


@dataclass(frozen=True, slots=True)
class Hint:
    """The text that probably comes next, and how far it will be asked for. It saves work and never changes a step.

    Args:
        text: What the other model proposed.
        propose: Ask the other model for more: (answer, number of its tokens) -> the text that it would write next.
        stop_below: No step will probably be asked for after one whose probability is below this.
    """

    text: str = ""
    propose: Callable[[str, int], str] | None = None
    stop_below: float = 0.0


class Tokenizer(ABC):
    """A model's tokens and its chat template."""

    @abstractmethod
    def encode(self, text: str, *, special_tokens: bool) -> list[int]:
        """Return the token ids of a text.

        Args:
            text: The text.
            special_tokens: Add the tokenizer's own special tokens (BOS).
        """

    @abstractmethod
    def render(
        self, messages: Sequence[Message], template: str | None = None, tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """Return the conversation rendered through the model's chat template, up to where its answer begins.

        Args:
            messages: The conversation, without two neighbours of one role.
            template: A Jinja chat template that replaces the model's own.
            tools: The tools that may be called. Templates without a place for tools get them in the system message.

        Raises:
            ChatTemplateError: There is no template, or it fails on this conversation.
        """

    def parse(self, text: str, prompt: str, tools: Sequence[Mapping[str, Any]]) -> ParsedAnswer | None:
        """Return the answer to this prompt as the model's own parser reads it.

        None if the model has no parser, or the parser finds no call.
        """
        return None


class Session(ABC):
    """One model, decoding one answer.

    A session is not for several threads at once. A model may have several sessions.
    """

    @abstractmethod
    def steps(self, text: str, limit: int, hint: Hint | None = None) -> Generator[Step, None, None]:
        """Yield the model's steps after its prompt and `text`, each computed when it is asked for.

        Ends after a step with `end`, after `limit` steps, or where the model's context is full. Closing the generator
        stops the work.

        Args:
            text: The answer so far.
            limit: The maximum number of steps.
            hint: What the caller believes comes next. Without a hint, every step is computed by itself.
        """

    def checks(self, text: str, run: Sequence[str]) -> list[Step]:
        """Return the model's own first step after `text`, after `text` and `run[0]`, and so on to the end of the run.

        The steps are those that `steps` gives after these texts. If the context is full, the list is shorter.
        """
        firsts = takewhile(bool, map(self._first, accumulate((text, *run))))
        return [step for first in firsts for step in first]

    def _first(self, text: str) -> list[Step]:
        steps = self.steps(text, 1)
        with closing(steps):
            return list(islice(steps, 1))

    @abstractmethod
    def fit(self, text: str, limit: int) -> FittedText:
        """Return the longest start of `text` that is at most `limit` of this model's tokens."""

    @abstractmethod
    def score(self, text: str, start: str = "", alternatives: int = 0) -> list[TokenLogprob]:
        """Return the log-probability that this model gives each of its tokens of an answer.

        Args:
            text: The answer so far.
            start: A start of it that is not scored.
            alternatives: The number of most probable tokens to list with each token, where the model knows them.
        """

    def check_score(self) -> None:  # noqa: B027 (optional)
        """Raise if `score` is not possible.

        Raises:
            UnsupportedModelError: The model cannot score a given text.
        """

    @abstractmethod
    def usage(self) -> ModelUsage:
        """Return what this session has computed so far."""

    def prefetch(self, text: str, limit: int, stop_below: float = 0.0) -> None:  # noqa: B027 (optional)
        """Start work on `steps(text, limit)`, which will probably be asked for next, with this `stop_below`."""

    def close(self) -> None:  # noqa: B027 (optional)
        """Release what the session holds."""

    async def asteps(self, text: str, limit: int, hint: Hint | None = None) -> AsyncGenerator[Step, None]:
        """Run `steps` without blocking the event loop: each step is computed in a thread."""
        steps = self.steps(text, limit, hint)
        try:
            while (step := await in_thread(next, steps, None)) is not None:
                yield step
        finally:
            steps.close()

    async def achecks(self, text: str, run: Sequence[str]) -> list[Step]:
        """Run `checks` without blocking the event loop."""
        return await in_thread(self.checks, text, run)

    async def aprefetch(self, text: str, limit: int, stop_below: float = 0.0) -> None:
        """Run `prefetch` without blocking the event loop."""
        self.prefetch(text, limit, stop_below)

    async def aclose(self) -> None:
        """Run `close` without blocking the event loop."""
        self.close()

    async def afit(self, text: str, limit: int) -> FittedText:
        """Run `fit` without blocking the event loop for longer than tokenizing `text` takes."""
        return self.fit(text, limit)


class Model(ABC):
    """A language model: it has a tokenizer and opens decoding sessions."""

    name: str
    """The name under which the model was loaded, for messages, cache keys and traces."""

    @property
    @abstractmethod
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, loaded at its first use.

        Raises:
            ModelError: It cannot be loaded.
        """

    @abstractmethod
    def session(
        self,
        prompt: str,
        *,
        author: Author,
        sampling: Sampling | None = None,
        grammar: Grammar | None = None,
        alternatives: int = 0,
    ) -> Session:
        """Open a session on this prompt. Nothing is computed until steps are asked for.

        Args:
            prompt: The prompt as the model sees it.
            author: The model's part in the pair. A base prompt is plain text and gets the tokenizer's special tokens
                (BOS). A nudging prompt is already rendered and gets none.
            sampling: How tokens are sampled. None decodes greedily.
            grammar: The grammar of the answer. No step leaves it, and a step that it forces costs no forward pass.
            alternatives: The number of most probable tokens that each step lists. 0 lists none.

        Raises:
            GrammarError: This kind of model cannot follow a grammar.
            UnsupportedModelError: This kind of model cannot list alternatives.
            PromptError: The prompt is empty.
            ContextLengthError: The prompt leaves no room for an answer in the model's context.
        """

    @property
    @abstractmethod
    def context_length(self) -> int:
        """The maximum number of tokens of prompt and answer together."""

    @property
    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Everything that makes this model answer as it does (name, revision, dtype, …), for cache keys."""

    def load(self) -> None:  # noqa: B027 (optional)
        """Load the model now rather than at the first step.

        Raises:
            ModelError: The model cannot be loaded or used.
        """

    _longer_context = "choose a model with a longer context"
    """The advice to a user whose context is too short."""

    def check_prompt_length(self, tokens: int, author: Author) -> None:
        """Raise if a prompt of `tokens` tokens is empty or leaves no room for an answer.

        Raises:
            PromptError: The prompt is empty.
            ContextLengthError: The prompt fills the model's context.
        """
        if not tokens:
            raise PromptError(f"the {author} prompt is empty: {self.name} needs at least one token to continue from")
        if tokens >= self.context_length:
            raise ContextLengthError(
                f"the {author} prompt has {tokens} tokens, and {self.name} has a context of {self.context_length} "
                f"for prompt and answer: shorten the prompt, or {self._longer_context}"
            )


def fit_text(text: str, limit: int, count: Callable[[str], int]) -> FittedText:
    """Return the longest start of a text that is at most `limit` tokens long.

    Args:
        text: The text.
        limit: The maximum number of tokens.
        count: Returns the number of tokens of a text.
    """
    tokens = count(text)
    if tokens > limit:
        text = text[: bisect_right(range(len(text)), limit, key=lambda end: count(text[:end])) - 1]
        tokens = count(text)
    return FittedText(text, tokens)
