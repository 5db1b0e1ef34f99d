"""Token ids to text, one token at a time, in whole characters."""

from collections.abc import Sequence
from typing import Any

UNFINISHED = "\ufffd"
"""How a decoder shows bytes that are not a whole character."""

CONTEXT = 6
"""How many tokens of the prefix a decoder must see to treat spaces and bytes as it would in the whole text."""


class Detokenizer:
    """What each token adds to the text after a prefix; the bytes of an unfinished character are held back."""

    def __init__(self, tokenizer: Any, prefix: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._tokens = list(prefix[-CONTEXT:])
        self._shown = self._decode()

    def push(self, token: int) -> str:
        """The text that this token adds; empty while a character is unfinished, and for special tokens."""
        self._tokens.append(token)
        text = self._decode()
        if text.endswith(UNFINISHED) or len(text) <= len(self._shown):
            return ""
        added = text[len(self._shown) :]
        self._tokens = self._tokens[-CONTEXT:]
        self._shown = self._decode()
        return added

    def _decode(self) -> str:
        return str(self._tokenizer.decode(self._tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))
