"""A local model decoding one answer."""

from collections.abc import Generator, Sequence

import torch
from transformers import DynamicCache

from nudging.answer import ModelUsage, TokenLogprob
from nudging.grammar.grammar import Grammar
from nudging.models.base import Hint, Sampling, Session, Tokenizer, fit_text
from nudging.models.local.drafts import Drafts
from nudging.models.local.kv_cache import CachePool, KVCache, common_prefix_length
from nudging.models.local.sampling import Choice, choose
from nudging.models.local.speculative import SpeculativeDecoder
from nudging.models.local.weights import Weights
from nudging.step import FittedText, Step

ROWS = 64
"""Number of positions that are scored per forward pass: with a large vocabulary a row of logits takes a megabyte."""


class LocalSession(Session):
    """A local model decoding one answer, with a KV cache of its own."""

    def __init__(
        self,
        weights: Weights,
        tokenizer: Tokenizer,
        caches: CachePool,
        prompt: str,
        prompt_tokens: int,
        special_tokens: bool,
        sampling: Sampling | None,
        grammar: Grammar | None,
    ) -> None:
        self._weights, self._tokenizer, self._caches = weights, tokenizer, caches
        self._prompt, self._prompt_tokens = prompt, prompt_tokens
        self._special_tokens, self._sampling, self._grammar = special_tokens, sampling, grammar
        self._decoder: SpeculativeDecoder | None = None
        self._drafts = Drafts(weights.timer, weights.context_length)
        self._forward_passes = self._tokens_fed = 0

    def steps(self, text: str, limit: int, hint: Hint | None = None) -> Generator[Step, None, None]:
        tokens = self._encode(text)
        limit = min(limit, self._weights.context_length - len(tokens))
        if limit <= 0:
            return
        end_tokens, detokenizer = self._weights.end_tokens, self._weights.detokenizer(tokens)
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
                yield Step("", choice.probability, end=True)
                return
            step = Step(detokenizer.push(choice.token), choice.probability)
            text += step.text
            yield step

    def fit(self, text: str, limit: int) -> FittedText:
        return fit_text(text, limit, self._count)

    def score(self, text: str) -> list[TokenLogprob]:
        tokens = self._encode(text)
        start = common_prefix_length(self._encode(""), tokens)
        detokenizer = self._weights.detokenizer(tokens[:start])
        logprobs: list[float] = []
        for end, logits in self._logits_along(tokens[:-1], start - 1):
            target = torch.tensor([tokens[end - len(logits) + 1 : end + 1]], device=logits.device)  # [1, rows]
            logprobs += logits.float().log_softmax(dim=-1).gather(-1, target.T).flatten().tolist()
        return [
            TokenLogprob(detokenizer.push(token), logprob)
            for token, logprob in zip(tokens[start:], logprobs, strict=True)
        ]

    def teacher_forced(self, text: str) -> list[tuple[int, Step]]:
        """Return the model's own step in place of each of its tokens of an answer, given all tokens before it.

        The answer is fed in a few passes, not one token per pass.

        Returns:
            For each token: where it begins, in characters of the text, and the model's step there. Tokens that begin
            within a character, or in the prompt, are left out.
        """
        tokens = self._encode(text)
        start = max(common_prefix_length(self._encode(""), tokens), 1)
        detokenizer = self._weights.detokenizer(tokens[:start])
        added = [detokenizer.push(token) for token in tokens[start:]]
        decoded = "".join(added)
        if not (text.endswith(decoded) or decoded.endswith(text)):
            return []  # the tokenizer does not reproduce the text, so the tokens have no places in it
        choices: list[Choice] = []
        for end, logits in self._logits_along(tokens[:-1], start - 1):
            choices += choose(logits, range(end - len(logits) + 1, end + 1), self._sampling)
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
            mask = self._weights.token_mask(self._grammar) if self._grammar else None
            cache = self._caches.acquire(tokens)
            cache.choose_by((self._sampling, mask))
            self._decoder = SpeculativeDecoder(cache, self._forward, self._sampling, mask)
        return self._decoder

    def _logits_along(self, tokens: Sequence[int], start: int) -> Generator[tuple[int, torch.Tensor], None, None]:
        """Yield the logits after each of the tokens from `start` on, a few rows at a time.

        Yields:
            The number of tokens before the last row's next token, and the logits, shape [rows, vocab].
        """
        if start >= len(tokens):
            return
        cache: KVCache = self._acquire_decoder(tokens).cache
        cache.crop(min(common_prefix_length(cache.tokens, tokens), start))
        while (cached := len(cache.tokens)) < len(tokens):
            end = min(max(start, cached) + ROWS, len(tokens))
            yield end, cache.extend(list(tokens[cached:end]), self._forward, end - max(start, cached))

    def _step(self, path: Sequence[int], choice: Choice) -> Step:
        """Return the choice after a path as a step."""
        if choice.token in self._weights.end_tokens:
            return Step("", choice.probability, end=True)
        return Step(self._weights.detokenizer(path).push(choice.token), choice.probability)

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

    def _forward(self, tokens: list[int], cache: DynamicCache, keep: int) -> torch.Tensor:
        self._forward_passes += 1
        self._tokens_fed += len(tokens)
        return self._weights.forward(tokens, cache, keep)
