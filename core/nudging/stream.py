"""The two drivers that run the rule against two models: one for threads, one for event loops."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from typing_extensions import Self

from nudging._threads import in_thread
from nudging.answer import Answer, Author, FinishReason, ModelUsage, Piece, TokenLogprob, Usage
from nudging.errors import ServerError
from nudging.models.base import Hint, Session
from nudging.rules.actions import Action, Ask, Check, Complete, Fit, More, Prefetch, Rule
from nudging.step import FittedText, Step
from nudging.tools.calls import ParsedAnswer
from nudging.tools.streaming import PartialAnswer

Sessions: TypeAlias = Mapping[Author, Session]


@dataclass(frozen=True)
class DecodingOptions:
    """Options of one answer that the rule does not know.

    Args:
        hints: Tell each model what the other one proposes.
        complete: Returns a text that completes a start of the answer under its grammar; None without a grammar.
        parse: Splits the answer into content and tool calls; None without tools.
        parse_partial: Returns what a client may see of the unfinished answer.
        logprobs: Let the base model score the answer.
        rule: The rule and its numbers, for the answer's `rule`.
    """

    hints: bool = True
    complete: Callable[[str], str | None] | None = None
    parse: Callable[[str], ParsedAnswer] | None = None
    parse_partial: Callable[[str], PartialAnswer] = PartialAnswer
    logprobs: bool = False
    rule: Mapping[str, str | float] = field(default_factory=dict)


class _Stream:
    """The answer so far, for either driver."""

    def __init__(self, rule: Rule, options: DecodingOptions) -> None:
        self._rule, self._options = rule, options
        self._sessions: Sessions = {}
        self._received: list[Piece] = []
        self._text = ""
        self._finish_reason: FinishReason | None = None
        self._logprobs: tuple[TokenLogprob, ...] | None = None

    @property
    def answer(self) -> Answer:
        """The answer so far. It is complete once the stream has ended."""
        usage = {author: session.usage() for author, session in self._sessions.items()}
        base, nudging = usage.get("base", ModelUsage()), usage.get("nudging", ModelUsage())
        tokens = sum(piece.tokens for piece in self._received)
        return Answer(
            pieces=tuple(self._received),
            finish_reason=self._finish_reason,
            usage=Usage(base.prompt_tokens, tokens, base, nudging),
            parsed=self._options.parse(self._text) if self._options.parse else None,
            logprobs=self._logprobs,
            rule=self._options.rule,
        )

    @property
    def partial(self) -> PartialAnswer:
        """The content and tool calls so far, without text that may turn out to be part of a call."""
        return self._options.parse_partial(self._text)

    def _receive(self, piece: Piece) -> None:
        self._received.append(piece)
        self._text += piece.text

    def _complete(self, text: str, limit: int) -> FittedText | None:
        """Return a text that completes the answer `text` within `limit` base-model tokens, or None."""
        complete = self._options.complete
        completion = complete(text) if complete and limit >= 0 else None
        fitted = None if completion is None else self._sessions["base"].fit(completion, limit)
        return fitted if fitted and fitted.text == completion else None

    def _hint(self, asked: Ask) -> Hint | None:
        if not self._options.hints:
            return None
        return Hint(asked.hint, self._propose if asked.author == "base" else None, asked.stop_below)

    def _propose(self, text: str, limit: int) -> str:
        """Return what the nudging model would write after the answer `text`, `limit` of its tokens."""
        return "".join(step.text for step in self._sessions["nudging"].steps(text, limit, Hint()))

    def _finish(self, reason: FinishReason) -> None:
        if self._options.logprobs:
            self._logprobs = tuple(self._sessions["base"].score(self._text))
        self._finish_reason = reason


class AnswerStream(_Stream):
    """An iterator of the pieces of an answer, each as soon as it is final.

    Closing it stops the decoding and frees the models.
    """

    def __init__(self, rule: Rule, sessions: Sessions, options: DecodingOptions) -> None:
        super().__init__(rule, options)
        self._sessions = sessions
        self._pieces = self._decode()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Piece:
        try:
            return next(self._pieces)
        except ServerError as error:
            error.answer = self.answer
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop decoding. The text so far stays in `answer`."""
        self._pieces.close()

    def _decode(self) -> Generator[Piece, None, None]:
        steps: Generator[Step, None, None] = (step for step in list[Step]())
        reply: Any = None
        try:
            while True:
                action, reply = self._rule.send(reply), None
                match action:
                    case Piece():
                        self._receive(action)
                        yield action
                    case Ask(author, text, limit):
                        steps.close()
                        steps = self._sessions[author].steps(text, limit, self._hint(action))
                        reply = next(steps, None)
                    case More():
                        reply = next(steps, None)
                    case other:
                        reply = self._reply(other)
        except StopIteration as finished:
            self._finish(finished.value)
        finally:
            steps.close()
            for session in self._sessions.values():
                session.close()

    def _reply(self, action: Action) -> list[Step] | FittedText | None:
        match action:
            case Check(text, run):
                return self._sessions["nudging"].checks(text, run)
            case Prefetch(text, limit, stop_below):
                self._sessions["base"].prefetch(text, limit, stop_below if self._options.hints else 0.0)
            case Fit(text, limit):
                return self._sessions["base"].fit(text, limit)
            case Complete(text, limit):
                return self._complete(text, limit)
        return None


class AsyncAnswerStream(_Stream):
    """`AnswerStream` for event loops: the models work without blocking the loop."""

    def __init__(self, rule: Rule, open_sessions: Callable[[], Awaitable[Sessions]], options: DecodingOptions) -> None:
        super().__init__(rule, options)
        self._open_sessions = open_sessions
        self._pieces = self._decode()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        try:
            return await anext(self._pieces)
        except ServerError as error:
            error.answer = self.answer
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop decoding. The text so far stays in `answer`."""
        await self._pieces.aclose()

    async def _decode(self) -> AsyncGenerator[Piece, None]:
        self._sessions = await self._open_sessions()
        steps = _no_steps()
        reply: Any = None
        try:
            while True:
                action, reply = self._rule.send(reply), None
                match action:
                    case Piece():
                        self._receive(action)
                        yield action
                    case Ask(author, text, limit):
                        await steps.aclose()
                        steps = self._sessions[author].asteps(text, limit, self._hint(action))
                        reply = await anext(steps, None)
                    case More():
                        reply = await anext(steps, None)
                    case other:
                        reply = await self._reply(other)
        except StopIteration as finished:
            await in_thread(self._finish, finished.value)
        finally:
            await steps.aclose()
            for session in self._sessions.values():
                await session.aclose()

    async def _reply(self, action: Action) -> list[Step] | FittedText | None:
        match action:
            case Check(text, run):
                return await self._sessions["nudging"].achecks(text, run)
            case Prefetch(text, limit, stop_below):
                await self._sessions["base"].aprefetch(text, limit, stop_below if self._options.hints else 0.0)
            case Fit(text, limit):
                return await self._sessions["base"].afit(text, limit)
            case Complete(text, limit):
                return await in_thread(self._complete, text, limit)
        return None


async def _no_steps() -> AsyncGenerator[Step, None]:
    return
    yield
