"""Complete the start of an answer under its grammar, so that an answer can end before its budget does.

A grammar says which byte may come next, not how far the end is. So a completion is searched for:

1. the last completion, without its first bytes: it mostly still works;
2. otherwise, byte by byte, the byte that closes what is open;
3. where no byte closes anything (within a pattern, or a number with bounds), the end of an example of the grammar's
   patterns, or a small beam search.

Example: `{"name": "Ada` is completed by `"}`, if the schema has no other required property.
"""

import json
from itertools import zip_longest
from typing import NamedTuple

from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from nudging.grammar.grammar import Grammar

END = 256
"""The end token: its id comes after those of the bytes."""

QUOTE, BACKSLASH = b'"\\'

SOONEST = b'}],0123456789ntf"[{'
"""Bytes of JSON outside of strings, in the order in which they lead to the end."""

CLOSERS = b"}],"

REPEATED = b"a0 "
"""Bytes that are tried first to fill a string with a minimum length."""

LONGEST = 16_384
"""Maximum length of a completion, in bytes. A text that needs more counts as one that cannot be completed."""

DEPTHS = 2, 48
"""Depths of the beam search, in bytes: first a short search, and a long one if repeating a byte does not help."""

BEAM = 16
"""Width of the beam search. At most half of the beam may have the same allowed next bytes."""


class _Bytes:
    """A tokenizer whose tokens are the 256 bytes."""

    eos_token_id = END
    bos_token_id = None
    tokens = (*(bytes([byte]) for byte in range(256)), b"<end>")
    special_token_ids = (END,)

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


BYTES = LLTokenizer(TokenizerWrapper(_Bytes()))


class _Place(NamedTuple):
    """A position in JSON text: inside a string or not, and directly after a backslash or not."""

    inside: bool = False
    escaped: bool = False

    def after(self, text: bytes) -> "_Place":
        inside, escaped = self
        for byte in text:
            if byte == QUOTE and not escaped:
                inside = not inside
            escaped = inside and byte == BACKSLASH and not escaped
        return _Place(inside, escaped)


class Completer:
    """Completes the starts of one answer.

    Args:
        grammar: The grammar of the answer.
    """

    def __init__(self, grammar: Grammar) -> None:
        self._json = grammar.is_json
        self._examples = [(json.dumps(one)[1:-1] if self._json else one).encode() for one in grammar.examples]
        self._source = grammar.source
        self._matcher = LLMatcher(BYTES, self._source, log_level=0)
        self._text = b""
        self._last = b""
        self._found: dict[int, bytes] = {}  # results of searches, by the allowed next bytes

    def complete(self, text: str) -> str | None:
        """Return a short text that completes this start of an answer, or None if none was found."""
        if not self._seek(text.encode()):
            return None
        found = self._rest_of_last()
        if found is None:
            found = self._way_to_end()
        if found is None:
            return None
        self._last = found
        return found.decode()

    def _seek(self, text: bytes) -> bool:
        """Advance the matcher past `text`. Return False if the grammar rejects it."""
        if self._matcher.is_error():  # it stays in that state
            self._matcher, self._text = LLMatcher(BYTES, self._source, log_level=0), b""
        shared = next((i for i, (one, other) in enumerate(zip(self._text, text, strict=False)) if one != other), None)
        shared = min(len(self._text), len(text)) if shared is None else shared
        self._matcher.rollback(len(self._text) - shared)
        taken = self._matcher.try_consume_tokens(list(text[shared:]))
        self._text = text[: shared + taken]
        return self._text == text

    def _rest_of_last(self) -> bytes | None:
        """Return the longest end of the last completion that still completes the text, or None."""
        for start in range(len(self._last), -1, -1):
            end = self._last[start:]
            taken = self._matcher.try_consume_tokens(list(end))
            complete = taken == len(end) and self._matcher.is_accepting()
            self._matcher.rollback(taken)
            if complete:
                return end
        return None

    def _way_to_end(self) -> bytes | None:
        """Return a text from here to the end of the grammar, closing what is open, or None."""
        way, place = b"", _Place().after(self._text)
        while not self._matcher.is_accepting() and len(way) < LONGEST:
            step = self._matcher.compute_ff_bytes() or self._step(place)
            if not step:
                break
            self._matcher.consume_tokens(list(step))
            way, place = way + step, place.after(step)
        complete = self._matcher.is_accepting()
        self._matcher.rollback(len(way))
        return way if complete else None

    def _step(self, place: _Place) -> bytes:
        """Return bytes that lead towards the end, or b"" if none were found."""
        if self._json:
            allowed = self._allowed()
            closers = [QUOTE] if place.inside else SOONEST
            best = next((bytes([byte]) for byte in closers if byte in allowed), b"")
            if best and (not best.isdigit() or self._closes_after(best, place)):
                return best
        mask = self._mask()
        if (known := self._found.get(mask)) and self._closes_after(known, place):
            return known
        self._found[mask] = (
            self._end_of_example(place)
            or self._search(place, DEPTHS[0])
            or self._repeat(place)
            or self._search(place, DEPTHS[1])
        )
        return self._found[mask]

    def _closes_after(self, text: bytes, place: _Place) -> bool:
        taken = self._matcher.try_consume_tokens(list(text))
        closes = taken == len(text) and self._closes(place.after(text))
        self._matcher.rollback(taken)
        return closes

    def _closes(self, place: _Place) -> bool:
        """Return True if an open string, array or object can be closed here, or the grammar is complete."""
        if place.inside:
            return not place.escaped and QUOTE in self._allowed()
        return self._matcher.is_accepting() or (self._json and any(byte in CLOSERS for byte in self._allowed()))

    def _end_of_example(self, place: _Place) -> bytes:
        """Return the shortest end of a pattern's example after which something can be closed, or b""."""
        ends = sorted((example[start:] for example in self._examples for start in range(len(example))), key=len)
        return next((end for end in ends if self._closes_after(end, place)), b"")

    def _search(self, place: _Place, depth: int) -> bytes:
        """Return short text after which something can be closed, found by a beam search, or b""."""
        beam = [b""]
        for _ in range(depth):
            alike: dict[int, list[bytes]] = {}  # texts by the bytes allowed after them
            for way in beam:
                self._matcher.consume_tokens(list(way))
                for byte in self._allowed():
                    longer = way + bytes([byte])
                    self._matcher.consume_token(byte)
                    closes, mask = self._closes(place.after(longer)), self._mask()
                    self._matcher.rollback(1)
                    if closes:
                        self._matcher.rollback(len(way))
                        return longer
                    if len(kind := alike.setdefault(mask, [])) < BEAM // 2:
                        kind.append(longer)
                self._matcher.rollback(len(way))
            beam = [way for one_of_each in zip_longest(*alike.values()) for way in one_of_each if way][:BEAM]
        return b""

    def _repeat(self, place: _Place) -> bytes:
        """Return one byte repeated until something can be closed, or b"": it fills a string with a minimum length."""
        allowed = self._allowed()
        byte = next((byte for byte in (*REPEATED, *allowed) if byte in allowed), None)
        taken = 0
        while byte is not None and taken < LONGEST and self._matcher.try_consume_tokens([byte]):
            taken += 1
            if self._closes(place):
                self._matcher.rollback(taken)
                return bytes([byte]) * taken
        self._matcher.rollback(taken)
        return b""

    def _mask(self) -> int:
        return int.from_bytes(self._matcher.compute_bitmask(), "little")

    def _allowed(self) -> list[int]:
        mask = self._mask()
        return [byte for byte in range(END) if mask >> byte & 1]
