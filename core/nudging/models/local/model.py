"""A model in this process, through transformers."""

import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from threading import Lock, RLock
from typing import Any, Literal, cast

import torch
from llguidance import LLTokenizer
from llguidance.hf import from_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, PreTrainedModel

from nudging.answer import ModelUsage, TokenLogprob
from nudging.errors import (
    SettingsError,
    UnsupportedModelError,
)
from nudging.grammar.grammar import Grammar
from nudging.models.base import Hint, Message, Model, Sampling, Session, fitted
from nudging.models.local.batching import Passes
from nudging.models.local.cpu_weights import pack
from nudging.models.local.detokenizer import Detokenizer
from nudging.models.local.drafts import Drafts
from nudging.models.local.kv_cache import KVCache, common_prefix_length
from nudging.models.local.sampling import Choice
from nudging.models.local.timing import Pace
from nudging.models.local.token_mask import Constraint
from nudging.models.tokenizer import Tokenizer, explained, located
from nudging.rule import Fitted, Step
from nudging.tools.parsing import Reading

ROLLBACK = {"full_attention", "sliding_attention", "chunked_attention"}
"""Kinds of layers whose cache can be rolled back, by their name in a transformers config."""


class LocalModel(Model):
    """A transformers model, loaded at its first use and shared by all its sessions.

    Args:
        name: A hub id, a folder, or a GGUF file.
        revision: Of the hub repository.
        dtype: "float32", "bfloat16" or "float16"; by default float32 on a CPU and the checkpoint's own elsewhere.
        device: As torch names it; by default the first accelerator, or the CPU.
        device_map: As in `from_pretrained`, to spread a model over several devices, in place of `device`.
        kept_caches: How many idle KV caches are kept for prompts to come that begin alike.
    """

    def __init__(
        self,
        name: str | Path,
        *,
        revision: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
        device_map: str | dict[str, Any] | None = None,
        kept_caches: int = 4,
    ) -> None:
        self.name = str(name)
        self._revision, self._dtype, self._device, self._device_map = revision, dtype, device, device_map
        self._loading = RLock()
        self._tokenizer = Tokenizer(name, revision)
        self._config: Any = None
        self._weights: PreTrainedModel | None = None
        self._guided: LLTokenizer | None = None
        self._passes: Passes
        self.pace = Pace()
        self._idle_caches: list[KVCache] = []  # the least recently used one first
        self._kept_caches = kept_caches
        self._caches = Lock()

    def __repr__(self) -> str:
        return f"LocalModel({self.name!r})"

    @property
    def identity(self) -> Mapping[str, Any]:
        return {
            "name": self.name,
            "revision": self._revision,
            "dtype": self._dtype,
            "device": self._device,
            "device_map": self._device_map,
        }

    def load(self) -> None:
        self._load_weights()

    @property
    def context_length(self) -> int:
        self._load_config()
        return getattr(self._config.get_text_config(), "max_position_embeddings", None) or sys.maxsize

    def session(
        self,
        prompt: str,
        *,
        role: Literal["base", "nudging"],
        sampling: Sampling | None = None,
        grammar: Grammar | None = None,
    ) -> "LocalSession":
        tokens = len(self.encode(prompt, special_tokens=role == "base"))
        self.check_room(tokens, role)
        return LocalSession(self, prompt, tokens, role == "base", sampling, grammar)

    def render(
        self, messages: Sequence[Message], template: str | None = None, tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        return self.tokenizer.render(messages, template, tools)

    def read_calls(self, text: str, prompt: str, tools: Sequence[Mapping[str, Any]]) -> Reading | None:
        return self.tokenizer.read_calls(text, prompt, tools)

    def encode(self, text: str, *, special_tokens: bool) -> list[int]:
        return self.tokenizer.encode(text, special_tokens=special_tokens)

    @property
    def tokenizer(self) -> Tokenizer:
        """Of a model that can be used: prompts are checked with it before the weights are touched."""
        self._load_config()
        return self._tokenizer

    def detokenizer(self, prefix: Sequence[int]) -> Detokenizer:
        """What the tokens after a prefix add to its text."""
        return Detokenizer(self._tokenizer.loaded, prefix)

    def constraint(self, grammar: Grammar) -> Constraint:
        """The grammar in this model's tokens."""
        ends = sorted(self.end_tokens)
        with self._loading:
            if self._guided is None:
                vocabulary = self._config.get_text_config().vocab_size
                self._guided = from_tokenizer(self._tokenizer.loaded, n_vocab=vocabulary, eos_token=ends)
        return Constraint(grammar, self._guided)

    @property
    def end_tokens(self) -> set[int]:
        """All tokens that end this model's turn."""
        weights = self._load_weights()
        named = (self._tokenizer.loaded, self._config, weights.generation_config)
        ids = [getattr(source, "eos_token_id", None) for source in named]
        return {end for one in ids if one is not None for end in (one if isinstance(one, list) else [one])}

    def forward(self, tokens: list[int], cache: DynamicCache, keep: int) -> torch.Tensor:
        """One forward pass: the logits after the last `keep` tokens, shape (keep, vocabulary)."""
        self._load_weights()
        return self._passes.run(tokens, cache, keep)

    def lend_cache(self, tokens: Sequence[int]) -> KVCache:
        """The idle KV cache that holds most of these tokens, for one session at a time.

        Where that would throw away the rest of what it holds, and there is room, the session gets a copy of the shared
        part.
        """
        with self._caches:
            if not self._idle_caches:
                return KVCache()
            shared = [common_prefix_length(cache.tokens, tokens) for cache in self._idle_caches]
            best = max(range(len(shared)), key=lambda i: (shared[i], i))
            if shared[best] < len(self._idle_caches[best].tokens) and len(self._idle_caches) < self._kept_caches:
                return self._idle_caches[best].fork(shared[best])
            return self._idle_caches.pop(best if shared[best] else 0)

    def take_back(self, cache: KVCache) -> None:
        """Keep a cache for the sessions to come."""
        with self._caches:
            self._idle_caches.append(cache)
            del self._idle_caches[: -self._kept_caches or None]

    def _load_config(self) -> None:
        with self._loading:
            if self._config is None:
                with explained(self.name):
                    config = AutoConfig.from_pretrained(located(self.name), revision=self._revision)
                self._refuse_states_without_rollback(config)
                self._config = config

    def _load_weights(self) -> PreTrainedModel:
        with self._loading:
            if self._weights is not None:
                return self._weights
            self._load_config()
            device = self._device or _default_device()
            _check_device(device)
            placement = {"device_map": self._device_map} if self._device_map else {}
            dtype = self._dtype or ("float32" if device == "cpu" and not self._device_map else "auto")
            with explained(self.name):
                weights = AutoModelForCausalLM.from_pretrained(
                    located(self.name), revision=self._revision, dtype=dtype, **placement
                )
            if weights._is_stateful:
                raise self._unsupported(f"its class {type(weights).__name__} keeps a state that cannot be rolled back")
            if not placement:
                cast("Any", weights).to(device)
                pack(weights)
            self._passes = Passes(weights, self.pace)
            self._weights = weights  # in evaluation mode, as from_pretrained gives it
            return weights

    def _refuse_states_without_rollback(self, config: Any) -> None:
        kinds = set(getattr(config.get_text_config(), "layer_types", None) or [])
        if other := kinds - ROLLBACK:
            raise self._unsupported(
                f"it has layers of kind {', '.join(sorted(other))}, whose state cannot be rolled back"
            )

    def _unsupported(self, reason: str) -> UnsupportedModelError:
        return UnsupportedModelError(
            f"{self.name} cannot be used for nudging: {reason}, and nudging has to go back to earlier points of a "
            "text. Take a model with attention layers only"
        )


class LocalSession(Session):
    """A local model at work on one answer, with a KV cache to itself."""

    def __init__(
        self,
        model: LocalModel,
        prompt: str,
        prompt_tokens: int,
        special_tokens: bool,
        sampling: Sampling | None,
        grammar: Grammar | None,
    ) -> None:
        self._model, self._prompt, self._prompt_tokens = model, prompt, prompt_tokens
        self._special_tokens, self._sampling, self._grammar = special_tokens, sampling, grammar
        self._constraint: Constraint | None = None
        self._cache: KVCache | None = None
        self._drafts = Drafts(model.pace, model.context_length)
        self._forward_passes = self._tokens_fed = 0

    def steps(self, text: str, limit: int, hint: Hint | None = None) -> Generator[Step, None, None]:
        tokens = self._encode(text)
        limit = min(limit, self._model.context_length - len(tokens))
        if limit <= 0:
            return
        end_tokens, detokenizer = self._model.end_tokens, self._model.detokenizer(tokens)
        cache = self._lent_cache(tokens)
        if self._constraint:
            self._constraint.seek(text)

        def guess(path: Sequence[int], length: int) -> list[int]:
            return self._continued(path, text, hint.more(text, length)) if hint and hint.more else []

        if hint:
            self._drafts.expect(len(tokens), self._continued(tokens, text, hint.text), guess if hint.more else None)
        for choice in cache.choices_after(tokens, limit, self._forward, self._drafts if hint else None):
            if choice.token in end_tokens:
                yield Step("", choice.probability, end=True)
                return
            step = Step(detokenizer.push(choice.token), choice.probability)
            text += step.text
            yield step

    def fit(self, text: str, limit: int) -> Fitted:
        return fitted(text, limit, self._count)

    def score(self, text: str) -> list[TokenLogprob]:
        whole = self._encode(text)
        start = common_prefix_length(self._encode(""), whole)
        detokenizer = self._model.detokenizer(whole[:start])
        logprobs = self._lent_cache(whole).logprobs(whole, start, self._forward)
        return [
            TokenLogprob(detokenizer.push(token), logprob)
            for token, logprob in zip(whole[start:], logprobs, strict=True)
        ]

    def forced(self, text: str) -> list[tuple[int, Step]]:
        """What the model would write in place of each of its tokens of an answer, after all that stands before it.

        Teacher forcing: the answer is fed at once, not a token a pass.

        Returns:
            Where each token begins, in characters of the text, and the model's step there. A token that begins inside
            of a character, or in the prompt, is left out.
        """
        whole = self._encode(text)
        start = max(common_prefix_length(self._encode(""), whole), 1)
        detokenizer = self._model.detokenizer(whole[:start])
        added = [detokenizer.push(token) for token in whole[start:]]
        written = "".join(added)
        if not (text.endswith(written) or written.endswith(text)):
            return []  # the tokenizer does not give the text back: nobody can say where its tokens begin
        choices = self._lent_cache(whole).choices_along(whole, start, self._forward)
        found, at, in_character = [], len(text) - len(written), False
        for number, (choice, its_text) in enumerate(zip(choices, added, strict=True), start):
            if at >= 0 and not in_character:
                found.append((at, self._step(whole[:number], choice)))
            at, in_character = at + len(its_text), not its_text
        return found

    def usage(self) -> ModelUsage:
        return ModelUsage(self._prompt_tokens, self._forward_passes, self._tokens_fed)

    def close(self) -> None:
        if self._cache is not None:
            self._model.take_back(self._cache)
            self._cache = None

    def _step(self, path: Sequence[int], choice: Choice) -> Step:
        """The choice after a path, as text."""
        if choice.token in self._model.end_tokens:
            return Step("", choice.probability, end=True)
        return Step(self._model.detokenizer(path).push(choice.token), choice.probability)

    def _encode(self, text: str) -> list[int]:
        return self._model.encode(self._prompt + text, special_tokens=self._special_tokens)

    def _count(self, text: str) -> int:
        return len(self._model.encode(text, special_tokens=False))

    def _continued(self, path: Sequence[int], text: str, more: str) -> list[int]:
        """The tokens of what comes after the answer `text`, whose tokens are the path."""
        if not more:
            return []
        whole = self._encode(text + more)
        return (
            whole[len(path) :] if whole[: len(path)] == list(path) else self._model.encode(more, special_tokens=False)
        )

    def _lent_cache(self, tokens: Sequence[int]) -> KVCache:
        if self._cache is None:
            self._constraint = self._model.constraint(self._grammar) if self._grammar else None
            self._cache = self._model.lend_cache(tokens)
            self._cache.use(self._sampling, self._constraint)
        return self._cache

    def _forward(self, tokens: list[int], cache: DynamicCache, keep: int) -> torch.Tensor:
        self._forward_passes += 1
        self._tokens_fed += len(tokens)
        return self._model.forward(tokens, cache, keep)


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(
            f"device={device!r} cannot be used: {reason}. Leave it out, or name one as torch does"
        ) from error


def _default_device() -> str:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator.type if accelerator else "cpu"
