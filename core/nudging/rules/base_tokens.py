"""The base model's tokens, for the rules that decide token by token.

A token here has at least one character: a tokenizer may need several steps for it.
"""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from nudging.rules.actions import Action, Ask, Check, More
from nudging.rules.sure_end import AHEAD, is_sure_end, is_within_word
from nudging.rules.unfinished import Finished, UnfinishedAnswer
from nudging.settings import Settings
from nudging.step import Step

LIMIT = 16
"""The base model is asked for this many steps at a time."""

LONGEST_CHARACTER = 8
"""Maximum number of steps for one character. As many steps without text are special tokens."""

REPEATED = range(4, 65)
"""Numbers of tokens whose immediate repetition is a loop."""

LOOPS = 4
"""The answer ends at its fourth loop."""

Token: TypeAlias = tuple[Step, ...]
"""The steps up to one that brings text or ends the turn. The first one's probability decides about all."""


class BaseTokens:
    """Appends the base model's tokens to an answer while the rule is sure of them.

    Args:
        answer: The answer.
        is_sure: Returns True for a step that needs no opinion of the nudging model.
        stop_below: After a step whose probability is below this, the base model mostly starts anew.
        settings: The probability of a sure end, and the length of the nudging model's proposals.
    """

    def __init__(
        self, answer: UnfinishedAnswer, is_sure: Callable[[Step], bool], stop_below: float, settings: Settings
    ) -> None:
        self._answer, self._is_sure, self._stop_below = answer, is_sure, stop_below
        self._end, self._lookahead = settings.end, settings.lookahead
        self._since_nudge: list[str] = []  # the base model's tokens since the nudging model wrote
        self._loops = 0
        self._unused: deque[Token] = deque()
        self._read = ""  # the answer, and the tokens that were read after it
        self._steps_left = 0  # of the last `Ask`
        self._is_nudged = True  # the nudging model wrote the last token

    def run(self) -> Generator[Action, Any, tuple[Token, Step]]:
        """Append tokens up to the first one that the rule is not sure of.

        Returns:
            That token, and the nudging model's own step in its place. The base model's token may end its turn.

        Raises:
            Finished: The answer ends before such a token.
        """
        while True:
            while _repeats(self._since_nudge):
                yield from self._leave_loop()
            tokens = self._before_loop((yield from self._read_ahead()))
            own = yield from self._own_steps(tokens)
            for place, step in own.items():
                if is_sure_end(step, self._end) and self._is_between_words(tokens, place):
                    yield from self._append(tokens[:place])
                    raise Finished("stop")
            if not tokens:
                raise Finished("length")  # the base model's context is full
            if self._is_kept(tokens[-1]):
                yield from self._append(tokens)
                continue
            yield from self._append(tokens[:-1])
            if len(tokens) - 1 not in own:
                raise Finished("length")  # the nudging model's context is full
            return tokens[-1], own[len(tokens) - 1]

    def keep(self, token: Token) -> Generator[Action, Any, None]:
        """Append the token that `run` has returned. The base model continues after it."""
        yield from self._append([token])

    def nudge(self, step: Step) -> Generator[Action, Any, None]:
        """Append the nudging model's token in place of the base model's. The base model starts again after it.

        Args:
            step: The nudging model's own step after the answer.

        Raises:
            Finished: The step ends the nudging model's turn.
        """
        while not (step.text or step.end):
            step = yield from self._whole_character()
        if step.end:
            raise Finished("stop")
        yield from self._write(step.text)

    def replace(self, step: Step) -> Generator[Action, Any, None]:
        """Append another token of the base model in place of the one from `run`. It starts again after that."""
        yield from self._append([(step,)])
        self.restart()

    def restart(self) -> None:
        """Let the base model start again after the answer."""
        self._unused.clear()
        self._read, self._steps_left = self._answer.text, 0

    def is_sure_of_next(self, hint: str) -> Generator[Action, Any, bool]:
        """Return True if the rule is sure of the base model's next token. `hint` is text that probably comes next."""
        token = yield from self._next(hint)
        if token is None:
            raise Finished("length")  # the base model's context is full
        self._unused.append(token)
        return self._is_kept(token)

    def own_step(self) -> Generator[Action, Any, Step]:
        """Return the nudging model's own step after the answer."""
        own: list[Step] = yield Check(self._answer.text)
        if not own:
            raise Finished("length")  # the nudging model's context is full
        return own[0]

    def _read_ahead(self) -> Generator[Action, Any, list[Token]]:
        """Return the next tokens, up to the first one that the rule is not sure of. None are left in a full context."""
        tokens: list[Token] = []
        while len(tokens) < (AHEAD if self._end else 1):
            token = yield from self._next()
            if token is None:
                break
            tokens.append(token)
            if not self._is_kept(token):
                break
        return tokens

    def _next(self, hint: str = "") -> Generator[Action, Any, Token | None]:
        """Return the next token, or None if the base model's context is full."""
        if self._unused:
            return self._unused.popleft()
        steps: list[Step] = []
        while len(steps) < LONGEST_CHARACTER:
            if self._steps_left == 0:
                steps, self._steps_left = [], LIMIT  # a character that the last one cut off is read again
                step: Step | None = yield Ask("base", self._read, LIMIT, hint, self._stop_below)
            else:
                step = yield More()
            if step is None:
                self._steps_left = 0
                return None
            self._steps_left -= 1
            steps.append(step)
            if step.text or step.end:
                break
        self._read += steps[-1].text
        return tuple(steps)

    def _own_steps(self, tokens: Sequence[Token]) -> Generator[Action, Any, Mapping[int, Step]]:
        """Return the nudging model's own steps in place of tokens, by their number.

        They are those that the rule is not sure of and, with a sure end, those that begin a word.
        """
        places = [
            number
            for number, token in enumerate(tokens)
            if not self._is_kept(token) or (self._end and self._is_between_words(tokens, number))
        ]
        if not places:
            return {}
        pieces = tuple(_text(tokens[start:stop]) for start, stop in pairwise(places))
        own: list[Step] = yield Check(self._answer.text + _text(tokens[: places[0]]), pieces)
        return dict(zip(places, own, strict=False))

    def _is_between_words(self, tokens: Sequence[Token], place: int) -> bool:
        """Return True if the place before a token is not inside a word."""
        return not is_within_word(self._answer.text + _text(tokens[:place]), _text(tokens[place:]))

    def _write(self, words: str) -> Generator[Action, Any, None]:
        """Append words of the nudging model."""
        if not self._is_nudged:
            self._answer.round += 1
        yield from self._answer.append_words(words)
        self._answer.check_budget()
        self._is_nudged = True
        self._since_nudge = []
        self.restart()

    def _whole_character(self) -> Generator[Action, Any, Step]:
        """Return the nudging model's next character after the answer, or its end, as one step."""
        action: Action = Ask("nudging", self._answer.text, LONGEST_CHARACTER)
        for _ in range(LONGEST_CHARACTER):
            step: Step | None = yield action
            if step is None:
                raise Finished("length")  # its context is full
            if step.text or step.end:
                return step
            action = More()
        return Step("", 1.0, end=True)  # special tokens only: it has no more to say

    def _before_loop(self, tokens: list[Token]) -> list[Token]:
        """Return the tokens up to one that completes a loop."""
        texts = [token[-1].text for token in tokens if self._is_kept(token)]
        ends = (end for end in range(1, len(texts) + 1) if _repeats([*self._since_nudge, *texts[:end]]))
        return tokens[: next(ends, len(tokens))]

    def _leave_loop(self) -> Generator[Action, Any, None]:
        """Let the nudging model write a proposal, as at the start of a round of the paper's rule.

        Raises:
            Finished: The nudging model ends its turn within the proposal, or this is the fourth loop.
        """
        self._loops += 1
        if self._loops == LOOPS:
            raise Finished("loop")
        step: Step | None = yield Ask("nudging", self._answer.text, self._lookahead)
        if step is None:
            raise Finished("length")  # its context is full
        proposal = ""
        while step is not None and not step.end:
            proposal += step.text
            step = yield More()
        is_end = step is not None
        words = proposal if is_end else proposal.rpartition(" ")[0] or proposal  # the last one may be cut off
        yield from self._write(words)
        if is_end:
            raise Finished("stop")

    def _is_kept(self, token: Token) -> bool:
        return bool(token[-1].text) and not token[-1].end and self._is_sure(token[0])

    def _append(self, tokens: Sequence[Token]) -> Generator[Action, Any, None]:
        for token in tokens:
            yield from self._answer.append_steps(token)
            self._since_nudge.append(token[-1].text)
            self._is_nudged = False


def _repeats(run: Sequence[str]) -> bool:
    """Return True if the last few tokens repeat those just before them."""
    return any(run[-count:] == run[-2 * count : -count] for count in REPEATED if 2 * count <= len(run))


def _text(tokens: Sequence[Token]) -> str:
    return "".join(token[-1].text for token in tokens)
