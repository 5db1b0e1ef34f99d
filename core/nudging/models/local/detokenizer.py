"""Token ids to text, one token at a time, in whole characters."""

from collections.abc import Sequence
from typing import Any

UNFINISHED = "\ufffd"
"""How a decoder shows bytes that are not a whole character."""

CONTEXT = 6
"""How many tokens before it a decoder must see to treat a token as it would in the whole text."""


class Detokenizer:
    """What each token adds to the text after a prefix; the bytes of an unfinished character are held back."""

    def __init__(self, tokenizer: Any, prefix: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._tokens = self._context(prefix)
        self._shown = self._decode(self._tokens)

    def push(self, token: int) -> str:
        """The text that this token adds; empty while a character is unfinished, and for special tokens."""
        self._tokens.append(token)
        text = self._decode(self._tokens)
        if text.endswith(UNFINISHED) or len(text) <= len(self._shown):
            return ""
        added = text[len(self._shown) :]
        self._tokens = self._context(self._tokens)
        self._shown = self._decode(self._tokens)
        return added

    def _context(self, tokens: Sequence[int]) -> list[int]:
        """The last few tokens, from where a character begins: a decoder gives up all bytes in a row if one is amiss."""
        for length in range(CONTEXT, len(tokens), CONTEXT):
            context = list(tokens[-length:])
            if not self._decode(context).startswith(UNFINISHED):
                return context
        return list(tokens)

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))
