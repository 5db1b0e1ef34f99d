"""The two drivers that run the rule against two models: one for threads, one for event loops."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from typing_extensions import Self

from nudging.answer import Answer, Author, FinishReason, ModelUsage, Piece, TokenLogprob, Usage
from nudging.errors import ServerError
from nudging.models.base import Hint, Session, in_thread
from nudging.rule import Ask, Close, Expect, Fit, Fitted, More, Rule, Step
from nudging.tools.parsing import Begun, Reading

Sessions: TypeAlias = Mapping[Author, Session]


@dataclass(frozen=True)
class Manner:
    """How an answer is made, beside the rule.

    Args:
        hints: Whether the models are told what may come next.
        complete: What completes the beginning of an answer that a grammar holds; None where nothing does.
        read: The tool calls in an answer, if tools were given.
        read_begun: The same of an unfinished one.
        logprobs: Whether the base model scores the answer.
    """

    hints: bool = True
    complete: Callable[[str], str | None] | None = None
    read: Callable[[str], Reading] | None = None
    read_begun: Callable[[str], Begun] = Begun
    logprobs: bool = False


class _Stream:
    """The answer so far, of either driver."""

    def __init__(self, rule: Rule, manner: Manner) -> None:
        self._rule, self._manner = rule, manner
        self._sessions: Sessions = {}
        self._answered: list[Piece] = []
        self._text = ""
        self._finish_reason: FinishReason | None = None
        self._logprobs: tuple[TokenLogprob, ...] | None = None

    @property
    def answer(self) -> Answer:
        """The answer so far; complete once the stream has ended."""
        usage = {author: session.usage() for author, session in self._sessions.items()}
        base, nudging = usage.get("base", ModelUsage()), usage.get("nudging", ModelUsage())
        tokens = sum(piece.tokens for piece in self._answered)
        return Answer(
            pieces=tuple(self._answered),
            finish_reason=self._finish_reason,
            usage=Usage(base.prompt_tokens, tokens, base, nudging),
            reading=self._manner.read(self._text) if self._manner.read else None,
            logprobs=self._logprobs,
        )

    @property
    def begun(self) -> Begun:
        """What of the answer so far may be shown: of its tool calls and of its content, which a call may begin in."""
        return self._manner.read_begun(self._text)

    def _settle(self, piece: Piece) -> None:
        self._answered.append(piece)
        self._text += piece.text

    def _closing(self, text: str, limit: int) -> Fitted | None:
        """What completes the answer after this text, if there is room for it."""
        complete = self._manner.complete
        closing = complete(text) if complete and limit >= 0 else None
        fitted = None if closing is None else self._sessions["base"].fit(closing, limit)
        return fitted if fitted and fitted.text == closing else None

    def _hint(self, asked: Ask) -> Hint | None:
        if not self._manner.hints:
            return None
        return Hint(asked.hint, self._nudging_text if asked.author == "base" else None)

    def _nudging_text(self, text: str, limit: int) -> str:
        """What the nudging model would write."""
        return "".join(step.text for step in self._sessions["nudging"].steps(text, limit, Hint()))

    def _finish(self, reason: FinishReason) -> None:
        if self._manner.logprobs:
            self._logprobs = tuple(self._sessions["base"].score(self._text))
        self._finish_reason = reason


class AnswerStream(_Stream):
    """The pieces of an answer, as soon as they are settled. Closing it stops the decoding and frees the models."""

    def __init__(self, rule: Rule, sessions: Sessions, manner: Manner) -> None:
        super().__init__(rule, manner)
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
        """Stop here. What was answered so far stays in `answer`."""
        self._pieces.close()

    def _decode(self) -> Generator[Piece, None, None]:
        steps: Generator[Step, None, None] = (step for step in list[Step]())
        reply: Any = None
        try:
            while True:
                request, reply = self._rule.send(reply), None
                match request:
                    case Piece():
                        self._settle(request)
                        yield request
                    case Ask(author, text, limit):
                        steps.close()
                        steps = self._sessions[author].steps(text, limit, self._hint(request))
                        reply = next(steps, None)
                    case More():
                        reply = next(steps, None)
                    case Expect(text, limit):
                        self._sessions["base"].expect(text, limit)
                    case Fit(text, limit):
                        reply = self._sessions["base"].fit(text, limit)
                    case Close(text, limit):
                        reply = self._closing(text, limit)
        except StopIteration as finished:
            self._finish(finished.value)
        finally:
            steps.close()
            for session in self._sessions.values():
                session.close()


class AsyncAnswerStream(_Stream):
    """`AnswerStream` for event loops: the models work without blocking the loop."""

    def __init__(self, rule: Rule, open_sessions: Callable[[], Awaitable[Sessions]], manner: Manner) -> None:
        super().__init__(rule, manner)
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
        """Stop here. What was answered so far stays in `answer`."""
        await self._pieces.aclose()

    async def _decode(self) -> AsyncGenerator[Piece, None]:
        self._sessions = await self._open_sessions()
        steps = _no_steps()
        reply: Any = None
        try:
            while True:
                request, reply = self._rule.send(reply), None
                match request:
                    case Piece():
                        self._settle(request)
                        yield request
                    case Ask(author, text, limit):
                        await steps.aclose()
                        steps = self._sessions[author].asteps(text, limit, self._hint(request))
                        reply = await anext(steps, None)
                    case More():
                        reply = await anext(steps, None)
                    case Expect(text, limit):
                        await self._sessions["base"].aexpect(text, limit)
                    case Fit(text, limit):
                        reply = await self._sessions["base"].afit(text, limit)
                    case Close(text, limit):
                        reply = await in_thread(self._closing, text, limit)
        except StopIteration as finished:
            await in_thread(self._finish, finished.value)
        finally:
            await steps.aclose()
            for session in self._sessions.values():
                await session.aclose()


async def _no_steps() -> AsyncGenerator[Step, None]:
    return
    yield
