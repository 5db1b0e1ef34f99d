"""The vocabulary of a GGUF file: text -> tokens -> bytes, and the tokens that end a turn."""

import codecs
import ctypes
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nudging.models.llamacpp.library import llama

if TYPE_CHECKING:
    from llguidance import LLTokenizer

_PIECE = 1024
"""Size of the buffer for one token's bytes. A longer token is asked for again with room enough."""


class Vocabulary:
    """The tokens of one model.

    Args:
        pointer: llama.cpp's vocabulary. It is valid as long as its model is loaded.
    """

    def __init__(self, pointer: Any) -> None:
        self._pointer = pointer
        self._pieces: dict[int, bytes] = {}
        self.size: int = llama.llama_vocab_n_tokens(pointer)
        self.bos: int = llama.llama_vocab_bos(pointer)
        self.eos: int = llama.llama_vocab_eos(pointer)
        self.adds_bos: bool = llama.llama_vocab_get_add_bos(pointer)

    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of a text, without BOS. Special tokens in it are recognised."""
        data = text.encode(errors="replace")
        room = len(data) + 8
        while True:
            tokens = (llama.llama_token * room)()
            count: int = llama.llama_tokenize(self._pointer, data, len(data), tokens, room, False, True)
            if count >= 0:
                return list(tokens[:count])
            room = -count

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token. They need not be whole characters; special tokens have none."""
        if token not in self._pieces:
            self._pieces[token] = self._piece(token, special=False)
        return self._pieces[token]

    def text(self, token: int) -> str:
        """Return the text of a token as the file writes it, for example "▁the"; "" if there is no such token."""
        if not 0 <= token < self.size:
            return ""
        return bytes(llama.llama_vocab_get_text(self._pointer, token)).decode(errors="replace")

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """All tokens that end a turn."""
        return frozenset(token for token in range(self.size) if llama.llama_vocab_is_eog(self._pointer, token))

    @cached_property
    def guidance_tokenizer(self) -> "LLTokenizer":
        """The tokenizer of llguidance."""
        from llguidance import LLTokenizer

        special = llama.LLAMA_TOKEN_ATTR_CONTROL | llama.LLAMA_TOKEN_ATTR_UNKNOWN
        attributes = (llama.llama_vocab_get_attr(self._pointer, token) for token in range(self.size))
        tokens = [
            (b"\xff" if attribute & special else b"") + self._piece(token, special=True)  # \xff marks special tokens
            for token, attribute in enumerate(attributes)
        ]
        tokenize = ctypes.cast(llama.llama_cpp._lib.llama_tokenize, ctypes.c_void_p).value
        return LLTokenizer.from_llamacpp(  # type: ignore[attr-defined, no-any-return]
            tokens=tokens, vocab_ptr=self._pointer, tokenize_fptr=tokenize, eos_token=sorted(self.end_tokens)
        )

    def _piece(self, token: int, special: bool) -> bytes:
        room = _PIECE
        while True:
            buffer = ctypes.create_string_buffer(room)
            count: int = llama.llama_token_to_piece(self._pointer, token, buffer, room, 0, special)
            if count >= 0:
                return buffer.raw[:count]
            room = -count


class BytesDetokenizer:
    """Returns the text that each token adds. Bytes of an unfinished character are held back.

    Args:
        vocabulary: The tokens.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """Return the text that this token adds. It is empty while a character is unfinished, and for special tokens."""
        return self._decoder.decode(self._vocabulary.piece(token))
