"""Decode token ids one at a time into whole characters."""

from collections.abc import Sequence
from typing import Any

UNFINISHED = "\ufffd"
"""The character that a decoder shows for bytes that are not a whole character."""

CONTEXT = 6
"""Number of earlier tokens that a decoder needs to decode a token as in the whole text."""


class Detokenizer:
    """Returns the text that each token adds after a prefix. Bytes of an unfinished character are held back."""

    def __init__(self, tokenizer: Any, prefix: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._tokens = self._context(prefix)
        self._deltas = self._decode(self._tokens)

    def push(self, token: int) -> str:
        """Return the text that this token adds. It is empty while a character is unfinished, and for special tokens."""
        self._tokens.append(token)
        text = self._decode(self._tokens)
        if text.endswith(UNFINISHED) or len(text) <= len(self._deltas):
            return ""
        added = text[len(self._deltas) :]
        self._tokens = self._context(self._tokens)
        self._deltas = self._decode(self._tokens)
        return added

    def _context(self, tokens: Sequence[int]) -> list[int]:
        """Return the last few tokens, starting where a character starts: one broken byte spoils all bytes beside it."""
        for length in range(CONTEXT, len(tokens), CONTEXT):
            context = list(tokens[-length:])
            if not self._decode(context).startswith(UNFINISHED):
                return context
        return list(tokens)

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))
