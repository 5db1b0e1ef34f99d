"""Token masks: after any operations the mask is that of a new matcher at the same text."""

import random
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from llguidance import LLTokenizer
from llguidance.hf import from_tokenizer
from nudging import GrammarError
from nudging.grammar.grammar import Grammar
from nudging.models.decoding.token_mask import TokenMask
from nudging.tools.definitions import call_grammar, call_or_schema_grammar, check_tools, optional_calls_grammar
from random_schemas import random_schema
from tiny import tiny_tokenizer
from tokenizers import AddedToken
from transformers import AutoTokenizer

REGEXES = [r"[a-z]+( [a-z]+)*\.?", "yes|no|maybe so", r"[^x]{3,20}", "(naïve|日本語|😀)+"]
STRING = Grammar.of_schema({"type": "string"})


@cache
def tokenizer(size: int) -> LLTokenizer:
    """Return a byte-level tokenizer with two end tokens, another special token, and a marker that is plain text."""
    loaded = tiny_tokenizer('the sky is blue and {"name": "so", "age": 12, we go there', size)
    loaded.add_tokens([AddedToken("<tool_call>", special=False)])
    loaded.add_special_tokens({"additional_special_tokens": ["<|turn|>", "<|im_end|>"]})
    ends = [loaded.eos_token_id, loaded.convert_tokens_to_ids("<|im_end|>")]
    return from_tokenizer(loaded, n_vocab=len(loaded) + 7, eos_token=sorted(ends))


def random_grammar(rng: random.Random) -> Grammar:
    functions = [{"name": name, "parameters": {"properties": {"a": random_schema(rng, 1)}}} for name in ("add", "sky")]
    tools = check_tools([{"type": "function", "function": function} for function in functions])
    kinds = [
        lambda: Grammar.of_schema(random_schema(rng)),
        lambda: Grammar.of_schema(random_schema(rng)),
        lambda: Grammar.of_regex(rng.choice(REGEXES)),
        lambda: optional_calls_grammar(tools),
        lambda: call_grammar(tools, "required", parallel=True),
        lambda: call_or_schema_grammar(tools, random_schema(rng, 1), parallel=True),
    ]
    grammar = rng.choice(kinds)()
    assert grammar is not None
    return grammar


class Walk:
    """A mask on a random walk, and the bytes that it has passed."""

    def __init__(self, grammar: Grammar, loaded: LLTokenizer, rng: random.Random) -> None:
        self.grammar, self.tokenizer, self.rng = grammar, loaded, rng
        self.ends = set(self.tokenizer.eos_tokens)
        self.special = [token for token in range(self.tokenizer.vocab_size) if self.tokenizer.is_special_token(token)]
        self.mask, self.written = self.new_mask(), b""

    def new_mask(self, written: bytes = b"") -> TokenMask:
        """Return a new mask after these bytes, pushed one by one."""
        mask = TokenMask(self.grammar, self.tokenizer, self.ends)
        for byte in written:
            mask.push(byte_tokens(self.tokenizer)[byte])
        return mask

    def choose(self, mask: TokenMask, refused: Collection[int] = ()) -> int | None:
        """Return a random token of those that the mask allows, or None if all of them are refused."""
        allowed = mask.masks([])[0].copy()
        allowed[list(refused)] = False
        tokens = allowed.nonzero()[0]
        return int(tokens[self.rng.randrange(len(tokens))]) if len(tokens) else None

    def push(self, token: int) -> None:
        self.mask.push(token)
        if token not in self.special:
            self.written += self.tokenizer.decode_bytes([token])

    def push_allowed(self) -> None:
        for _ in range(self.rng.randint(1, 6)):
            if (token := self.choose(self.mask, self.ends)) is not None:
                self.push(token)

    def push_forced(self) -> None:
        forced = self.mask.forced()
        if forced is not None:
            assert self.mask.masks([])[0][forced]
            if forced not in self.ends:
                self.push(forced)

    def verify_draft(self) -> None:
        """Compute masks along a draft that is allowed at first, and may have end tokens and special tokens."""
        draft: list[int] = []
        probe = self.new_mask(self.written)
        for _ in range(self.rng.randint(0, 6)):
            if (token := self.choose(probe)) is None or token in self.ends:
                draft += [] if token is None else [token]
                break
            draft.append(token)
            probe.push(token)
        anything: list[Sequence[int]] = [range(self.tokenizer.vocab_size), self.special]
        draft += [self.rng.choice(self.rng.choice(anything)) for _ in range(self.rng.randint(0, 3))]
        kept = self.mask.allowed_prefix(draft)
        rows = self.mask.masks(kept)
        assert kept == draft[: len(kept)]
        assert rows.shape == (1 + len(kept), self.tokenizer.vocab_size)
        assert all(rows[position][token] for position, token in enumerate(kept))

    def seek_back(self) -> None:
        text = self.written.decode(errors="ignore")
        self.seek(text[: self.rng.randint(0, len(text))])

    def seek_elsewhere(self) -> None:
        """Go back, and on with other text, as when the other model has written it."""
        text = self.written.decode(errors="ignore")
        text = text[: self.rng.randint(0, len(text))]
        probe, other = self.new_mask(text.encode()), b""
        for _ in range(self.rng.randint(1, 5)):
            if (token := self.choose(probe, self.special)) is not None:
                probe.push(token)
                other += self.tokenizer.decode_bytes([token])
        self.seek(text + other.decode(errors="ignore"))

    def seek(self, text: str) -> None:
        self.mask.seek(text)
        self.written = text.encode()

    def leave_grammar(self) -> None:
        """Go to text outside of a lazy grammar, and back again."""
        if self.grammar.lazy:
            text = self.written.decode(errors="ignore")
            self.mask.seek('{"name": "add" is no call')
            assert bool(self.mask.masks([]).all())
            self.seek(text)


@cache
def byte_tokens(loaded: LLTokenizer) -> dict[int, int]:
    """Return the token of each byte."""
    plain = [token for token in range(loaded.vocab_size) if not loaded.is_special_token(token)]
    return {text[0]: token for token in plain if len(text := loaded.decode_bytes([token])) == 1}


def check_operations(walk: Walk, number: int) -> None:
    """Compare the mask with a new one's after each of some random operations."""
    operations = [walk.push_allowed, walk.push_forced, walk.verify_draft, walk.seek_back, walk.seek_elsewhere]
    for _ in range(number):
        walk.rng.choice([*operations, walk.push_allowed, walk.verify_draft, walk.leave_grammar])()
        assert (walk.mask.masks([]) == walk.new_mask(walk.written).masks([])).all(), walk.written


@pytest.mark.parametrize("seed", range(60))
def test_the_mask_is_that_of_a_new_matcher_after_any_operations(seed: int) -> None:
    rng = random.Random(seed)
    check_operations(Walk(random_grammar(rng), tokenizer(rng.choice([280, 330])), rng), 30)


@pytest.mark.standard
@pytest.mark.parametrize("seed", range(2))
def test_the_mask_of_a_real_model_is_that_of_a_new_matcher(pair: tuple[Path, Path], seed: int) -> None:
    rng = random.Random(seed)
    loaded = from_tokenizer(AutoTokenizer.from_pretrained(pair[seed % 2]))
    check_operations(Walk(random_grammar(rng), loaded, rng), 8)


@pytest.mark.parametrize("later", ["日", "\ufffd", "日本 end", "a", ""])
@pytest.mark.parametrize("pushed", [1, 2, 3])
def test_an_unfinished_character_is_left_when_the_text_goes_on(later: str, pushed: int) -> None:
    loaded = tokenizer(280)
    mask = TokenMask(STRING, loaded, set(loaded.eos_tokens))
    mask.seek('"')
    for byte in "日".encode()[:pushed]:  # decoded as U+FFFD, which may be a character of the text too
        mask.push(byte_tokens(loaded)[byte])
    mask.seek(f'"{later}')
    expected = TokenMask(STRING, loaded, set(loaded.eos_tokens))
    expected.seek(f'"{later}')
    assert bool((mask.masks([]) == expected.masks([])).all())


def test_all_end_tokens_are_allowed_at_the_end_and_none_is_drafted() -> None:
    loaded = tokenizer(280)
    mask = TokenMask(Grammar.of_regex("ab?"), loaded, set(loaded.eos_tokens))
    mask.seek("a")
    assert {int(token) for token in mask.masks([])[0].nonzero()[0]} >= set(loaded.eos_tokens)
    end, b = loaded.eos_tokens[-1], byte_tokens(loaded)[ord("b")]
    assert mask.allowed_prefix([b, end, b]) == [b]
    assert mask.allowed_prefix([end]) == []


def test_a_mask_is_usable_again_after_an_error() -> None:
    loaded = tokenizer(280)
    mask = TokenMask(Grammar.of_regex("abc"), loaded, set(loaded.eos_tokens))
    with pytest.raises(GrammarError, match="cannot continue with 'x'"):
        mask.push(byte_tokens(loaded)[ord("x")])
    with pytest.raises(GrammarError, match="too complex"):
        mask.forced()  # not the end token, which would cut the answer
    mask.seek("ab")
    assert mask.forced() == byte_tokens(loaded)[ord("c")]


def test_a_failed_forward_pass_leaves_the_mask_where_it_was(tiny_base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from nudging.models.base import Hint
    from nudging.models.local.model import LocalModel

    model = LocalModel(tiny_base)
    grammar = Grammar.of_schema({"type": "array", "items": {"enum": ["blue", "far", "whales"]}})

    def steps(session: Any) -> list[str]:
        return [step.text for step in session.steps("[", 12, Hint('"blue", "far"]'))]

    expected = steps(model.session("the sky", author="base", grammar=grammar))
    session = model.session("the sky", author="base", grammar=grammar)
    with monkeypatch.context() as patch:
        patch.setattr(model.weights, "forward", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            steps(session)
    assert steps(session) == expected
