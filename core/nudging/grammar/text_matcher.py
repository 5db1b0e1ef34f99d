"""A grammar along a text, in bytes: which text may come next, whatever the tokens of a model are.

`token_mask.py` in `models/decoding` is the same in the tokens of one model.
"""

from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from nudging.grammar.grammar import Grammar

END = 256
"""The end token: its id comes after those of the bytes."""

ASCII = 128
"""Bytes from here on are parts of longer characters."""


class _Bytes:
    """A tokenizer whose tokens are the 256 bytes."""

    eos_token_id = END
    bos_token_id = None
    tokens = (*(bytes([byte]) for byte in range(256)), b"<end>")
    special_token_ids = (END,)

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


_BYTES = LLTokenizer(TokenizerWrapper(_Bytes()))


class TextMatcher:
    """The place of a text in a grammar.

    Args:
        grammar: The grammar of the answer.
    """

    def __init__(self, grammar: Grammar) -> None:
        self._source = grammar.source
        self._matcher, self._text = self._new_matcher(), b""

    @property
    def text(self) -> bytes:
        """The text, as far as the grammar has taken it."""
        return self._text

    def seek(self, text: bytes) -> bool:
        """Move to the place after `text`. Return False if the grammar rejects it."""
        if self._matcher.is_error():  # it stays in that state
            self._matcher, self._text = self._new_matcher(), b""
        shared = next((i for i, (one, other) in enumerate(zip(self._text, text, strict=False)) if one != other), None)
        shared = min(len(self._text), len(text)) if shared is None else shared
        self.rollback(len(self._text) - shared)
        self.take(text[shared:])
        return self._text == text

    def take(self, text: bytes) -> int:
        """Move on over as much of `text` as the grammar allows. Return its length in bytes."""
        taken = self._matcher.try_consume_tokens(list(text))
        self._text += text[:taken]
        return taken

    def rollback(self, length: int) -> None:
        """Move back by this many bytes."""
        self._matcher.rollback(length)
        self._text = self._text[: len(self._text) - length]

    def allowed(self, text: bytes) -> int:
        """Return the number of bytes of `text` that the grammar allows next."""
        taken = self.take(text)
        self.rollback(taken)
        return taken

    def forced(self) -> bytes:
        """Return the text that must come next, as far as there is no choice."""
        return bytes(self._matcher.compute_ff_bytes())

    @property
    def can_end(self) -> bool:
        """True if the text so far is complete."""
        return bool(self._matcher.is_accepting())

    def mask(self) -> int:
        """Return the bytes that may come next, as bits."""
        return int.from_bytes(self._matcher.compute_bitmask(), "little")

    def bytes_allowed(self) -> list[int]:
        """Return the bytes that may come next."""
        mask = self.mask()
        return [byte for byte in range(END) if mask >> byte & 1]

    def first_characters(self) -> str:
        """Return the characters that may come next, as a character class of a regular expression.

        All characters outside ASCII stand in it if one of them may come next.
        """
        allowed = self.bytes_allowed()
        characters = "".join(f"\\x{byte:02x}" for byte in allowed if byte < ASCII)
        others = "\\u0080-\\U0010ffff" if any(byte >= ASCII for byte in allowed) else ""
        return f"[{characters}{others}]"

    def _new_matcher(self) -> LLMatcher:
        return LLMatcher(_BYTES, self._source, log_level=0)


def whole_characters(text: bytes) -> str:
    """Return a text up to its last whole character."""
    return text.decode(errors="ignore") if text else ""
