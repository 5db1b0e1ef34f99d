"""A grammar in the tokens of one model: which tokens may come next."""

from collections.abc import Sequence, Set
from functools import lru_cache
from itertools import takewhile

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from nudging.errors import GrammarError
from nudging.grammar.grammar import Grammar


class TokenMask:
    """The tokens that a grammar allows next, along one answer.

    Args:
        grammar: The grammar of the answer.
        tokenizer: The model's tokenizer for llguidance.
        end_tokens: The tokens that end the model's turn.
    """

    def __init__(self, grammar: Grammar, tokenizer: LLTokenizer, end_tokens: Set[int]) -> None:
        self._grammar, self._tokenizer, self._end_tokens = grammar, tokenizer, end_tokens
        self._matcher = self._new_matcher()
        self._tokens: list[int] = []
        self._forced: list[int] = []
        self._left_grammar = False  # the text has left a lazy grammar: everything is allowed from here on

    def seek(self, text: str) -> None:
        """Move to the position after `text`, the answer so far. Its tokens may differ from those pushed before."""
        self._left_grammar, self._forced = False, []
        if self._matcher.is_error():  # it stays in that state
            self._matcher, self._tokens = self._new_matcher(), []
        written = text.encode()
        while not _continues(written, before := self._tokenizer.decode_bytes(self._tokens)):
            self._tokens.pop()
            self._matcher.rollback(1)
        for token in self._tokenizer.greedy_tokenize(written[len(before) :].decode()):
            self.push(token)

    def push(self, token: int) -> None:
        """Move one token on.

        Raises:
            GrammarError: The grammar does not allow the token, or is too complex to decide it.
        """
        if self._left_grammar or (self._grammar.lazy and self._tokenizer.is_special_token(token)):
            return
        if self._grammar.lazy and not self._matcher.validate_tokens([token]):
            self._left_grammar = True
            return
        if not self._matcher.consume_token(token):
            raise self._error(f"the answer cannot continue with {self._tokenizer.decode_str([token])!r}")
        self._tokens.append(token)
        self._forced = self._forced[1:] if self._forced[:1] == [token] else []

    def forced(self) -> int | None:
        """Return the only token that the grammar allows next, if there is exactly one.

        This is the end token once the grammar is complete.
        """
        if self._left_grammar:
            return None
        if self._matcher.is_error():
            raise self._error("the grammar is too complex at this point")
        if self._matcher.is_stopped():
            return int(self._tokenizer.eos_token)
        if not self._forced:
            self._forced = self._matcher.compute_ff_tokens()
        return self._forced[0] if self._forced else None

    def allowed_prefix(self, draft: Sequence[int]) -> list[int]:
        """Return the longest start of a draft that the grammar allows, without end tokens.

        A matcher of llguidance 1.9 that is rolled back over an end token is one token too far back. So `masks` must
        not advance over one.
        """
        if self._left_grammar:
            return list(draft)
        draft = list(takewhile(lambda token: token not in self._end_tokens, draft))
        return draft[: self._matcher.validate_tokens(draft)]

    def masks(self, draft: Sequence[int]) -> NDArray[np.bool_]:
        """Return True for each token that may come next, here and after each token of an allowed draft.

        Returns:
            Booleans of shape [1 + draft, vocab].
        """
        if self._left_grammar:
            return np.ones((1 + len(draft), self._tokenizer.vocab_size), dtype=np.bool_)
        rows = [self._mask()]
        for token in draft:
            self._matcher.consume_token(token)
            rows.append(self._mask())
        self._matcher.rollback(len(draft))
        return np.stack(rows)

    def _new_matcher(self) -> LLMatcher:
        return LLMatcher(self._tokenizer, self._grammar.source, log_level=0)

    def _mask(self) -> NDArray[np.bool_]:
        packed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)  # [vocab / 8]
        if self._matcher.is_error():
            raise self._error("the grammar is too complex at this point")
        bits = np.unpackbits(packed, count=self._tokenizer.vocab_size, bitorder="little")
        mask = bits.view(np.bool_)  # [vocab]
        if self._grammar.lazy and 2 * int(mask.sum()) > len(mask):  # free text, which may contain special tokens
            mask |= _special_tokens(self._tokenizer)
        return mask

    def _error(self, problem: str) -> GrammarError:
        reason = self._matcher.get_error().split("\n")[0]
        return GrammarError(f"{self._grammar.meaning}: {problem} ({reason})")


def _continues(written: bytes, before: bytes) -> bool:
    """Return True if UTF-8 starts with these bytes, and the next byte starts a character."""
    return written.startswith(before) and not any(byte & 0xC0 == 0x80 for byte in written[len(before) :][:1])


@lru_cache(maxsize=8)
def _special_tokens(tokenizer: LLTokenizer) -> NDArray[np.bool_]:
    """Return True for each special token, shape [vocab]."""
    return np.array([tokenizer.is_special_token(token) for token in range(tokenizer.vocab_size)])
