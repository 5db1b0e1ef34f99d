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

from nudging.grammar.grammar import Grammar
from nudging.grammar.text_matcher import TextMatcher

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
        self._matcher = TextMatcher(grammar)
        self._last = b""
        self._found: dict[int, bytes] = {}  # results of searches, by the allowed next bytes

    def complete(self, text: str) -> str | None:
        """Return a short text that completes this start of an answer, or None if none was found."""
        if not self._matcher.seek(text.encode()):
            return None
        found = self._rest_of_last()
        if found is None:
            found = self._way_to_end()
        if found is None:
            return None
        self._last = found
        return found.decode()

    def _rest_of_last(self) -> bytes | None:
        """Return the longest end of the last completion that still completes the text, or None."""
        for start in range(len(self._last), -1, -1):
            end = self._last[start:]
            taken = self._matcher.take(end)
            complete = taken == len(end) and self._matcher.can_end
            self._matcher.rollback(taken)
            if complete:
                return end
        return None

    def _way_to_end(self) -> bytes | None:
        """Return a text from here to the end of the grammar, closing what is open, or None."""
        way, place = b"", _Place().after(self._matcher.text)
        while not self._matcher.can_end and len(way) < LONGEST:
            step = self._matcher.forced() or self._step(place)
            if not step:
                break
            self._matcher.take(step)
            way, place = way + step, place.after(step)
        complete = self._matcher.can_end
        self._matcher.rollback(len(way))
        return way if complete else None

    def _step(self, place: _Place) -> bytes:
        """Return bytes that lead towards the end, or b"" if none were found."""
        if self._json:
            allowed = self._matcher.bytes_allowed()
            closers = [QUOTE] if place.inside else SOONEST
            best = next((bytes([byte]) for byte in closers if byte in allowed), b"")
            if best and (not best.isdigit() or self._closes_after(best, place)):
                return best
        mask = self._matcher.mask()
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
        taken = self._matcher.take(text)
        closes = taken == len(text) and self._closes(place.after(text))
        self._matcher.rollback(taken)
        return closes

    def _closes(self, place: _Place) -> bool:
        """Return True if an open string, array or object can be closed here, or the grammar is complete."""
        if place.inside:
            return not place.escaped and QUOTE in self._matcher.bytes_allowed()
        return self._matcher.can_end or (self._json and any(byte in CLOSERS for byte in self._matcher.bytes_allowed()))

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
                self._matcher.take(way)
                for byte in self._matcher.bytes_allowed():
                    longer = way + bytes([byte])
                    self._matcher.take(bytes([byte]))
                    closes, mask = self._closes(place.after(longer)), self._matcher.mask()
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
        allowed = self._matcher.bytes_allowed()
        byte = next((byte for byte in (*REPEATED, *allowed) if byte in allowed), None)
        taken = 0
        while byte is not None and taken < LONGEST and self._matcher.take(bytes([byte])):
            taken += 1
            if self._closes(place):
                self._matcher.rollback(taken)
                return bytes([byte]) * taken
        self._matcher.rollback(taken)
        return b""
