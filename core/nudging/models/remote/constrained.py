"""Steps under a grammar: the server decodes freely, and the grammar is followed here, on its text."""

import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from nudging.errors import GrammarError
from nudging.grammar.completion import Completer
from nudging.grammar.grammar import Grammar
from nudging.grammar.text_matcher import TextMatcher, whole_characters
from nudging.models.remote.plans import Next, Open, Plan, free_steps
from nudging.step import Alternative, Step

NOT_TEXT = re.compile(r"<[^<>\s]+>|\[[A-Z_/]+\]|.*\ufffd.*")
"""Listed tokens that may be special tokens or parts of a character. They never stand in place of another token."""

Chosen: TypeAlias = Generator[Open, Any, Step]


class Constrained:
    """The steps of a session under a grammar. None of them leaves the grammar.

    A token of the server that leaves the grammar is replaced by the first of these that exists, and a new request goes
    on after it:

    1. the end, if the text is complete
    2. the most probable token that the server lists and that the grammar allows
    3. the token that the server chooses if it may begin with allowed characters only, up to its last allowed character
    4. the token itself, up to its last allowed character
    5. the first character of a short text that completes the answer

    Text that the grammar forces costs no request.

    Args:
        grammar: The grammar of the answer.
        can_choose_first: True if the server takes `Open.first`.
        count: Returns the number of tokens of a text.
    """

    def __init__(self, grammar: Grammar, can_choose_first: bool, count: Callable[[str], int]) -> None:
        self._grammar, self._can_choose_first, self._count = grammar, can_choose_first, count
        self._matcher = TextMatcher(grammar)
        self._completer = Completer(grammar)

    def steps(self, text: str, limit: int) -> Plan:
        """Plan the steps after the answer `text`, at most `limit`.

        Raises:
            GrammarError: The grammar is too complex at some point.
        """
        if not self._matcher.seek(text.encode()):
            if not self._grammar.lazy:
                raise self._error()
            yield from free_steps(text, limit)  # the other model has left the grammar: everything is allowed
            return
        decoding = _Decoding()
        while limit > 0:
            for piece in self._forced():
                yield Step(piece, 1.0)
                decoding.skip(piece)
                if not (limit := limit - 1):
                    return
            if not self._matcher.bytes_allowed():
                yield Step("", 1.0, end=True)
                return
            step = yield from decoding.next(self._text, limit)
            if step is None:
                return  # the context is full
            if not self._is_allowed(step):
                step = yield from self._instead_of(step)
                decoding = _Decoding()
            self._matcher.take(step.text.encode())
            yield step
            if step.end:
                return
            limit -= 1

    @property
    def _text(self) -> str:
        return self._matcher.text.decode()

    def _forced(self) -> Iterator[str]:
        """Take the text that the grammar forces, and yield it in as many pieces as it has tokens."""
        forced = whole_characters(self._matcher.forced())
        if forced:
            self._matcher.take(forced.encode())
            pieces = min(len(forced), self._count(forced))
            for number in range(pieces):
                yield forced[number * len(forced) // pieces : (number + 1) * len(forced) // pieces]

    def _is_allowed(self, step: Step) -> bool:
        return self._matcher.can_end if step.end else self._allowed(step.text) == step.text

    def _allowed(self, text: str) -> str:
        """Return the longest start of a text that the grammar allows next, in whole characters."""
        written = text.encode()
        return whole_characters(written[: self._matcher.allowed(written)])

    def _instead_of(self, step: Step) -> Chosen:
        """Return the step that stands in place of one that leaves the grammar.

        Raises:
            GrammarError: The grammar is too complex here.
        """
        if self._matcher.can_end:
            return Step("", step.probability, end=True)
        listed = next(filter(self._may_stand, step.alternatives), None)
        if listed:
            return Step(listed.text, listed.probability)
        if self._can_choose_first:
            chosen: Step | None = yield Open(self._text, 1, first=self._matcher.first_characters())
            if chosen and (start := self._allowed(chosen.text)):
                return replace(chosen, text=start, end=False)
        if start := self._allowed(step.text):
            return replace(step, text=start, end=False)
        completion = self._completer.complete(self._text)
        if not completion:
            raise self._error()
        return Step(completion[0], 0.0)

    def _may_stand(self, listed: Alternative) -> bool:
        text = listed.text
        return bool(text) and not NOT_TEXT.fullmatch(text) and self._allowed(text) == text

    def _error(self) -> GrammarError:
        return GrammarError(f"{self._grammar.meaning}: the grammar is too complex after {self._text[-60:]!r}")


class _Decoding:
    """The completion that is under way, and text that the session already has and the completion may still bring."""

    def __init__(self) -> None:
        self._is_open = False
        self._known = ""

    def skip(self, text: str) -> None:
        """Expect this text of the completion, which the session already has."""
        if self._is_open:
            self._known += text

    def next(self, text: str, limit: int) -> Generator[Open | Next, Any, Step | None]:
        """Return the next step after the answer `text`, or None if the context is full."""
        while True:
            is_new = not self._is_open
            step: Step | None = yield Open(text, limit) if is_new else Next()
            self._is_open = True
            if step is None and is_new:
                return None
            if step is not None and not step.end and self._known.startswith(step.text) and self._known:
                self._known = self._known[len(step.text) :]
                continue
            if step is None or not step.text.startswith(self._known):  # used up, or it brings something else
                self._is_open, self._known = False, ""
                continue
            if self._known:
                step = replace(step, text=step.text[len(self._known) :])
                self._known = ""
            return step
