"""A model in this process decoding one answer."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from itertools import accumulate
from math import inf, log
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nudging.answer import ModelUsage, TokenLogprob
from nudging.grammar.grammar import Grammar
from nudging.models.base import Hint, Sampling, Session, Tokenizer, fit_text
from nudging.models.decoding.drafts import Drafts
from nudging.models.decoding.engine import Engine
from nudging.models.decoding.kv_cache import CachePool, KVCache, common_prefix_length
from nudging.models.decoding.sampling import Choice
from nudging.models.decoding.speculative import SpeculativeDecoder
from nudging.step import Alternative, FittedText, Step

T = TypeVar("T")

ROWS = 64
"""Number of positions that are scored per forward pass: with a large vocabulary a row of logits takes a megabyte."""


class DecodingSession(Session):
    """A model in this process decoding one answer, with a KV cache of its own."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        caches: CachePool[KVCache],
        prompt: str,
        prompt_tokens: int,
        special_tokens: bool,
        sampling: Sampling | None,
        grammar: Grammar | None,
        alternatives: int = 0,
    ) -> None:
        self._engine, self._tokenizer, self._caches = engine, tokenizer, caches
        self._prompt, self._prompt_tokens = prompt, prompt_tokens
        self._special_tokens, self._sampling, self._grammar = special_tokens, sampling, grammar
        self._alternatives = alternatives
        self._decoder: SpeculativeDecoder | None = None
        self._drafts = Drafts(engine.timer, engine.context_length)
        self._forward_passes = self._tokens_fed = 0

    def steps(self, text: str, limit: int, hint: Hint | None = None) -> Generator[Step, None, None]:
        tokens = self._encode(text)
        limit = min(limit, self._engine.context_length - len(tokens))
        if limit <= 0:
            return
        end_tokens, detokenizer = self._engine.end_tokens, self._engine.detokenizer(tokens)
        decoder = self._acquire_decoder(tokens)
        if decoder.mask:
            decoder.mask.seek(text)

        def propose(path: Sequence[int], length: int) -> list[int]:
            return self._continuation(path, text, hint.propose(text, length)) if hint and hint.propose else []

        if hint:
            self._drafts.set_hint(
                len(tokens), self._continuation(tokens, text, hint.text), propose if hint.propose else None
            )
        for choice in decoder.choices(tokens, limit, self._drafts if hint else None):
            if choice.token in end_tokens:
                yield self._step(tokens, choice)
                return
            step = self._step(tokens, choice, detokenizer.push(choice.token))
            tokens.append(choice.token)
            text += step.text
            yield step

    def checks(self, text: str, run: Sequence[str]) -> list[Step]:
        texts = list(accumulate((text, *run)))
        paths = list(map(self._encode, texts))
        whole = paths[-1][: self._engine.context_length]  # no more is fed
        decoder = self._acquire_decoder(paths[0])
        found = []
        for so_far, path in zip(texts, paths, strict=True):
            if len(path) >= self._engine.context_length:
                break
            if decoder.mask:
                decoder.mask.seek(so_far)
            follows = whole[len(path) :] if whole[: len(path)] == path else []
            found.append(self._step(path, decoder.check(path, follows)))
        return found

    def fit(self, text: str, limit: int) -> FittedText:
        return fit_text(text, limit, self._count)

    def score(self, text: str, start: str = "", alternatives: int = 0) -> list[TokenLogprob]:
        path = self._encode(start)
        tokens = path + self._continuation(path, start, text[len(start) :])
        detokenizer = self._engine.detokenizer(path)

        def read(logits: Any, positions: Sequence[int]) -> list[tuple[float, Choice]]:
            logprobs = self._engine.logprobs(logits, [tokens[at] for at in positions])
            return list(zip(logprobs, self._engine.choose(logits, positions, None, None, alternatives), strict=True))

        scored = [
            TokenLogprob(detokenizer.push(tokens[at]), logprob, self._listed(tokens[:at], choice))
            for at, (logprob, choice) in enumerate(self._along(tokens, len(path), read), len(path))
        ]
        if scored:  # a character that is cut off at the end belongs to the last token
            rest = text[len(start) + sum(len(one.token) for one in scored) :]
            scored[-1] = replace(scored[-1], token=scored[-1].token + rest)
        return scored

    def _listed(self, path: Sequence[int], choice: Choice) -> tuple[TokenLogprob, ...]:
        """Return the alternatives of a choice after a path."""
        return tuple(
            TokenLogprob(self._text(path, token), log(probability) if probability else -inf)
            for token, probability in choice.alternatives
        )

    def teacher_forced(self, text: str) -> list[tuple[int, Step]]:
        """Return the model's own step in place of each of its tokens of an answer, given all tokens before it.

        The answer is fed in a few passes, not one token per pass.

        Returns:
            For each token: where it begins, in characters of the text, and the model's step there. Tokens that begin
            within a character, or in the prompt, are left out.
        """
        tokens = self._encode(text)
        start = max(common_prefix_length(self._encode(""), tokens), 1)
        detokenizer = self._engine.detokenizer(tokens[:start])
        added = [detokenizer.push(token) for token in tokens[start:]]
        decoded = "".join(added)
        if not (text.endswith(decoded) or decoded.endswith(text)):
            return []  # the tokenizer does not reproduce the text, so the tokens have no places in it
        choices = self._along(
            tokens, start, lambda logits, positions: self._engine.choose(logits, positions, self._sampling)
        )
        found, at, within_character = [], len(text) - len(decoded), False
        for number, (choice, its_text) in enumerate(zip(choices, added, strict=True), start):
            if at >= 0 and not within_character:
                found.append((at, self._step(tokens[:number], choice)))
            at, within_character = at + len(its_text), not its_text
        return found

    def usage(self) -> ModelUsage:
        return ModelUsage(self._prompt_tokens, self._forward_passes, self._tokens_fed)

    def close(self) -> None:
        if self._decoder is not None:
            self._caches.release(self._decoder.cache)
            self._decoder = None

    def _acquire_decoder(self, tokens: Sequence[int]) -> SpeculativeDecoder:
        if self._decoder is None:
            mask = self._engine.token_mask(self._grammar) if self._grammar else None
            cache = self._caches.acquire(tokens)
            cache.choose_by((self._sampling, mask, self._alternatives))

            def feed(new: list[int], keep: int, masks: NDArray[np.bool_] | None) -> list[Choice]:
                end = len(cache.tokens) + len(new) + 1
                positions = range(end - keep, end)
                return self._extend(
                    cache,
                    new,
                    keep,
                    lambda logits: self._engine.choose(logits, positions, self._sampling, masks, self._alternatives),
                )

            self._decoder = SpeculativeDecoder(cache, feed, mask)
        return self._decoder

    def _along(self, tokens: Sequence[int], start: int, read: Callable[[Any, Sequence[int]], list[T]]) -> list[T]:
        """Return what `read` makes of the logits for each of the tokens from `start` on, given the tokens before it.

        Args:
            tokens: The tokens of prompt and answer.
            start: The index of the first token to read.
            read: (logits, indices) -> one value per row. The indices are those of the tokens that the rows predict.
        """
        values: list[T] = []
        if start >= len(tokens):
            return values
        cache = self._acquire_decoder(tokens).cache
        cache.crop(min(common_prefix_length(cache.tokens, tokens), start - 1))
        while (cached := len(cache.tokens)) < len(tokens) - 1:
            first = max(start, cached + 1)
            end = min(first + ROWS, len(tokens))
            positions = range(first, end)
            new = list(tokens[cached : end - 1])
            values += self._extend(cache, new, len(positions), lambda logits, at=positions: read(logits, at))  # type: ignore[misc]
        return values

    def _extend(self, cache: KVCache, tokens: list[int], keep: int, read: Callable[[Any], T]) -> T:
        self._forward_passes += 1
        self._tokens_fed += len(tokens)
        return cache.extend(tokens, keep, read)

    def _step(self, path: Sequence[int], choice: Choice, text: str | None = None) -> Step:
        """Return the choice after a path as a step. `text` is the text that it adds, if it is known."""
        end_tokens = self._engine.end_tokens
        # a token that the grammar forces comes from no pass, and so without alternatives
        listed = choice.alternatives or ([(choice.token, choice.probability)] if self._alternatives else [])
        alternatives = tuple(
            Alternative("" if token in end_tokens else self._text(path, token), probability, token in end_tokens)
            for token, probability in listed
        )
        end = choice.token in end_tokens
        if text is None:
            text = "" if end else self._text(path, choice.token)
        return Step(text, choice.probability, end, choice.sampled, alternatives)

    def _text(self, path: Sequence[int], token: int) -> str:
        """Return the text that a token adds after a path."""
        return self._engine.detokenizer(path).push(token)

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(self._prompt + text, special_tokens=self._special_tokens)

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, special_tokens=False))

    def _continuation(self, path: Sequence[int], text: str, more: str) -> list[int]:
        """Return the tokens of `more` after the answer `text`, whose tokens are the path."""
        if not more:
            return []
        tokens = self._encode(text + more)
        if tokens[: len(path)] == list(path):
            return tokens[len(path) :]
        return self._tokenizer.encode(more, special_tokens=False)
