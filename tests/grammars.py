"""Texts and grammars: does a grammar accept a text, and a random start of an accepted one."""

import random

from llguidance import LLMatcher
from nudging.grammar.completion import BYTES, Completer
from nudging.grammar.grammar import Grammar


def accepts(grammar: Grammar, text: str) -> bool:
    """Return True if the text is complete under the grammar."""
    matcher = LLMatcher(BYTES, grammar.source, log_level=0)
    written = text.encode()
    return matcher.try_consume_tokens(list(written)) == len(written) and bool(matcher.is_accepting())


def random_start(grammar: Grammar, rng: random.Random, length: int) -> str:
    """Return a random start of a text that the grammar accepts, up to `length` bytes, in whole characters."""
    matcher, written = LLMatcher(BYTES, grammar.source, log_level=0), b""
    while len(written) < length and not matcher.is_stopped():
        mask = int.from_bytes(matcher.compute_bitmask(), "little")
        allowed = [byte for byte in range(256) if mask >> byte & 1]
        if not allowed:
            break
        byte = rng.choice([byte for byte in allowed if 32 <= byte < 127] or allowed)
        matcher.consume_token(byte)
        written += bytes([byte])
    return written.decode(errors="ignore")


def random_text(grammar: Grammar, rng: random.Random, length: int) -> str:
    """Return a random text that the grammar accepts, completed once it has about `length` bytes."""
    start = random_start(grammar, rng, length)
    end = Completer(grammar).complete(start)
    assert end is not None, start
    return start + end
