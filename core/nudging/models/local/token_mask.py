"""A grammar in the tokens of one model: which may come next."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from llguidance import LLMatcher, LLTokenizer

from nudging.errors import GrammarError
from nudging.grammar.grammar import Grammar


class Constraint:
    """Where one model stands in what a grammar permits of an answer.

    Args:
        grammar: What the answer may be.
        tokenizer: The model's, as llguidance knows it; its end tokens are those of the model.
    """

    def __init__(self, grammar: Grammar, tokenizer: LLTokenizer) -> None:
        self._grammar, self._tokenizer = grammar, tokenizer
        self._matcher = LLMatcher(tokenizer, grammar.source, log_level=0)
        self._tokens: list[int] = []
        self._forced: list[int] = []
        self._lost = False  # the text has left a lazy grammar

    def seek(self, text: str) -> None:
        """Stand after this beginning of the answer, however it was made."""
        self._lost = False
        while not text.startswith(before := self._tokenizer.decode_str(self._tokens)):
            self._tokens.pop()
            self._matcher.rollback(1)
        self._forced = []
        for token in self._tokenizer.greedy_tokenize(text[len(before) :]):
            self.push(token)

    def push(self, token: int) -> None:
        """Stand after one more token.

        Raises:
            GrammarError: The grammar does not permit it, or is too complex to say.
        """
        if self._lost or (self._grammar.lazy and self._tokenizer.is_special_token(token)):
            return
        if self._grammar.lazy and not self._matcher.validate_tokens([token]):
            self._lost = True
            return
        if not self._matcher.consume_token(token):
            raise self._error(f"the answer cannot go on with {self._tokenizer.decode_str([token])!r}")
        self._tokens.append(token)
        self._forced = self._forced[1:] if self._forced[:1] == [token] else []

    def forced(self) -> int | None:
        """The one token that may come next, if there is but one: an end token when all is said."""
        if self._lost:
            return None
        if self._matcher.is_stopped():
            return int(self._tokenizer.eos_token)
        if not self._forced:
            self._forced = self._matcher.compute_ff_tokens()
        return self._forced[0] if self._forced else None

    def permitted(self, expected: Sequence[int]) -> list[int]:
        """The beginning of what is expected next that the grammar permits."""
        if self._lost:
            return list(expected)
        return list(expected[: self._matcher.validate_tokens(list(expected))])

    def masks(self, expected: Sequence[int]) -> torch.Tensor:
        """Which tokens may come next, here and after each of the (permitted) tokens that are expected.

        Returns:
            Booleans, shape (1 + expected, vocabulary).
        """
        if self._lost:
            return torch.ones(1 + len(expected), self._tokenizer.vocab_size, dtype=torch.bool)
        rows = [self._mask()]
        for token in expected:
            self._matcher.consume_token(token)
            rows.append(self._mask())
        self._matcher.rollback(len(expected))
        return torch.stack(rows)

    def _mask(self) -> torch.Tensor:
        packed = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
        if self._matcher.is_error():
            raise self._error("the grammar is too complex here")
        bits = packed.unsqueeze(-1) >> torch.arange(8, dtype=torch.uint8) & 1
        mask = bits.flatten()[: self._tokenizer.vocab_size].bool()
        if self._grammar.lazy and 2 * int(mask.sum()) > len(mask):  # free text, which special tokens may stand in too
            mask |= _special_tokens(self._tokenizer)
        return mask

    def _error(self, problem: str) -> GrammarError:
        reason = self._matcher.get_error().split("\n")[0]
        return GrammarError(f"{self._grammar.meaning}: {problem} ({reason})")


@lru_cache(maxsize=8)
def _special_tokens(tokenizer: LLTokenizer) -> torch.Tensor:
    """Which tokens are special, shape (vocabulary,)."""
    return torch.tensor([tokenizer.is_special_token(token) for token in range(tokenizer.vocab_size)])
