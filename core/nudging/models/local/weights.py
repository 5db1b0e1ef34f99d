"""Load a transformers model, and run its forward passes."""

import sys
from collections.abc import Callable, Sequence
from threading import RLock
from typing import Any

import numpy as np
import torch
from llguidance import LLTokenizer
from llguidance.hf import from_tokenizer
from numpy.typing import NDArray
from transformers import PreTrainedConfig, PreTrainedModel

from nudging.grammar.grammar import Grammar
from nudging.models.base import Sampling
from nudging.models.decoding.engine import Engine
from nudging.models.decoding.sampling import Choice
from nudging.models.decoding.timing import PassTimer
from nudging.models.decoding.token_mask import TokenMask
from nudging.models.local.batching import BatchScheduler
from nudging.models.local.detokenizer import Detokenizer
from nudging.models.local.kv_cache import TransformersCache
from nudging.models.local.loading import LoadingOptions, load_config, load_weights
from nudging.models.local.sampling import choose
from nudging.models.local.self_check import find_state
from nudging.models.local.state import State
from nudging.models.tokenizer import TransformersTokenizer


class Weights(Engine):
    """A transformers model: its config, its weights and its forward passes, each loaded at its first use.

    Args:
        tokenizer: The model's tokenizer. It has the model's name.
        options: How the model is loaded.
    """

    def __init__(self, tokenizer: TransformersTokenizer, options: LoadingOptions) -> None:
        super().__init__(PassTimer())
        self.name, self._options, self._tokenizer = tokenizer.name, options, tokenizer
        self._loading = RLock()
        self._config: PreTrainedConfig | None = None
        self._loaded: PreTrainedModel | None = None
        self._guidance_tokenizer: LLTokenizer | None = None
        self._scheduler: BatchScheduler
        self._new_state: Callable[[], State]

    def load_config(self) -> Any:
        """Load the config, and refuse a model that does not write text. Errors are those of `loading.load_config`."""
        with self._loading:
            if self._config is None:
                self._config = load_config(self.name, self._options)
            return self._config

    def load(self) -> PreTrainedModel:
        """Load the weights, and find out how the model keeps a state.

        Raises:
            NudgingError: An error of `load_config`, `loading.load_weights` or `find_state`.
        """
        with self._loading:
            if self._loaded is None:
                loaded = load_weights(self.name, self.load_config(), self._options)
                self._scheduler = BatchScheduler(loaded, self.timer)
                self._new_state = find_state(self.name, loaded, self._scheduler.run)
                self._scheduler.allow_batches(self._new_state())
                self._loaded = loaded
            return self._loaded

    @property
    def context_length(self) -> int:
        """The maximum number of tokens of prompt and answer together."""
        return getattr(self.load_config().get_text_config(), "max_position_embeddings", None) or sys.maxsize

    @property
    def end_tokens(self) -> set[int]:
        """All tokens that end this model's turn."""
        loaded = self.load()
        named = (self._tokenizer.loaded, self._config, loaded.generation_config)
        ids = [getattr(source, "eos_token_id", None) for source in named]
        return {end for one in ids if one is not None for end in (one if isinstance(one, list) else [one])}

    def detokenizer(self, prefix: Sequence[int]) -> Detokenizer:
        """Return a detokenizer for the tokens after a prefix."""
        return Detokenizer(self._tokenizer.loaded, prefix)

    def token_mask(self, grammar: Grammar) -> TokenMask:
        """Return the grammar in this model's tokens."""
        ends = self.end_tokens
        with self._loading:
            if self._guidance_tokenizer is None:
                vocabulary = self.load_config().get_text_config().vocab_size
                self._guidance_tokenizer = from_tokenizer(
                    self._tokenizer.loaded, n_vocab=vocabulary, eos_token=sorted(ends)
                )
        return TokenMask(grammar, self._guidance_tokenizer, ends)

    def new_cache(self) -> TransformersCache:
        return TransformersCache(lambda tokens, state, keep: self.forward(tokens, state, keep), self.new_state)

    @property
    def can_batch(self) -> bool:
        """True if concurrent answers share forward passes."""
        self.load()
        return self._scheduler.can_batch

    def new_state(self) -> State:
        """Return the state of an empty sequence."""
        self.load()
        return self._new_state()

    def choose(
        self,
        logits: Any,
        positions: Sequence[int],
        sampling: Sampling | None,
        masks: NDArray[np.bool_] | None = None,
        alternatives: int = 0,
    ) -> list[Choice]:
        return choose(logits, positions, sampling, masks, alternatives)

    def logprobs(self, logits: Any, tokens: Sequence[int]) -> list[float]:
        target = torch.tensor([tokens], device=logits.device)  # [1, rows]
        found: list[float] = logits.float().log_softmax(dim=-1).gather(-1, target.T).flatten().tolist()
        return found

    def to_array(self, logits: Any) -> NDArray[np.float32]:
        array: NDArray[np.float32] = logits.float().cpu().numpy()
        return array

    def forward(self, tokens: list[int], state: State, keep: int) -> torch.Tensor:
        """Run one forward pass. Return the logits after each of the last `keep` tokens, shape [keep, vocab]."""
        self.load()
        return self._scheduler.run(tokens, state, keep)
