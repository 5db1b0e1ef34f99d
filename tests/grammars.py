"""Texts and grammars: does a grammar accept a text, and a random start of an accepted one."""

import random

from nudging.grammar.completion import Completer
from nudging.grammar.grammar import Grammar
from nudging.grammar.text_matcher import TextMatcher


def accepts(grammar: Grammar, text: str) -> bool:
    """Return True if the text is complete under the grammar."""
    matcher = TextMatcher(grammar)
    return matcher.seek(text.encode()) and matcher.can_end


def random_start(grammar: Grammar, rng: random.Random, length: int) -> str:
    """Return a random start of a text that the grammar accepts, up to `length` bytes, in whole characters."""
    matcher = TextMatcher(grammar)
    while len(matcher.text) < length and (allowed := matcher.bytes_allowed()):
        byte = rng.choice([byte for byte in allowed if 32 <= byte < 127] or allowed)
        matcher.take(bytes([byte]))
    return matcher.text.decode(errors="ignore")


def random_text(grammar: Grammar, rng: random.Random, length: int) -> str:
    """Return a random text that the grammar accepts, completed once it has about `length` bytes."""
    start = random_start(grammar, rng, length)
    end = Completer(grammar).complete(start)
    assert end is not None, start
    return start + end
