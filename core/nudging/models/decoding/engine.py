"""The seam between decoding and its engines: forward passes over KV caches, choices from logits, a vocabulary."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nudging.grammar.grammar import Grammar
from nudging.models.base import Sampling
from nudging.models.decoding.kv_cache import KVCache
from nudging.models.decoding.sampling import Choice
from nudging.models.decoding.timing import PassTimer
from nudging.models.decoding.token_mask import TokenMask


class Detokenizer(Protocol):
    """Returns the text that each token adds."""

    def push(self, token: int) -> str:
        """Return the text that this token adds. It is empty while a character is unfinished, and for special tokens."""


class Engine(ABC):
    """One model's forward passes and vocabulary. Logits are arrays of the engine's own kind, shape [rows, vocab].

    Args:
        timer: The time of the forward passes.
    """

    def __init__(self, timer: PassTimer) -> None:
        self.timer = timer

    @property
    @abstractmethod
    def context_length(self) -> int:
        """The maximum number of tokens of prompt and answer together."""

    @property
    @abstractmethod
    def end_tokens(self) -> Collection[int]:
        """All tokens that end the model's turn."""

    @abstractmethod
    def load(self) -> Any:
        """Load the weights, unless they are loaded.

        Raises:
            ModelError: They cannot be loaded or used.
        """

    @abstractmethod
    def new_cache(self) -> KVCache:
        """Return an empty KV cache."""

    @abstractmethod
    def detokenizer(self, prefix: Sequence[int]) -> Detokenizer:
        """Return a detokenizer for the tokens after a prefix."""

    @abstractmethod
    def token_mask(self, grammar: Grammar) -> TokenMask:
        """Return the grammar in this model's tokens."""

    @abstractmethod
    def choose(
        self,
        logits: Any,
        positions: Sequence[int],
        sampling: Sampling | None,
        masks: NDArray[np.bool_] | None = None,
        alternatives: int = 0,
    ) -> list[Choice]:
        """Return one choice per row. Arguments are those of `sampling.choose`."""

    @abstractmethod
    def logprobs(self, logits: Any, tokens: Sequence[int]) -> list[float]:
        """Return the log-probability of one token per row."""

    @abstractmethod
    def to_array(self, logits: Any) -> NDArray[np.float32]:
        """Return a copy of the logits."""
