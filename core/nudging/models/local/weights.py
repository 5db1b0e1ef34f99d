"""Load a transformers model, and run its forward passes."""

import sys
from collections.abc import Sequence
from threading import RLock
from typing import Any, cast

import numpy as np
import torch
from llguidance import LLTokenizer
from llguidance.hf import from_tokenizer
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, PreTrainedModel

from nudging.errors import SettingsError, UnsupportedModelError
from nudging.grammar.grammar import Grammar
from nudging.models.base import Sampling
from nudging.models.decoding.engine import Engine
from nudging.models.decoding.sampling import Choice
from nudging.models.decoding.timing import PassTimer
from nudging.models.decoding.token_mask import TokenMask
from nudging.models.local.batching import BatchScheduler
from nudging.models.local.cpu_weights import pack_weights
from nudging.models.local.detokenizer import Detokenizer
from nudging.models.local.kv_cache import TransformersCache
from nudging.models.local.sampling import choose
from nudging.models.tokenizer import TransformersTokenizer, resolve_path, translated_errors

CROPPABLE_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}
"""The kinds of layers whose cache can be cropped, by their name in a transformers config."""

WARM_UP = (1, 1, 4, 16)
"""Sizes of the passes that are run while loading. Kernels are built and pages are read then, and not in the first
answer, and the timer knows from the start how the cost of a pass grows."""


class Weights(Engine):
    """A transformers model: its config, its weights and its forward passes, each loaded at its first use.

    Args:
        tokenizer: The model's tokenizer. It has the model's name and revision.
        dtype: "float32", "bfloat16" or "float16"; by default float32 on a CPU and the checkpoint's own elsewhere.
        device: The device in torch's notation; by default the first accelerator, or else the CPU.
        device_map: A placement on several devices, as in `from_pretrained`. It replaces `device`.
    """

    def __init__(
        self,
        tokenizer: TransformersTokenizer,
        dtype: str | None,
        device: str | None,
        device_map: str | dict[str, Any] | None,
    ) -> None:
        super().__init__(PassTimer())
        self.name, self._revision = tokenizer.name, tokenizer.revision
        self._dtype, self._device, self._device_map = dtype, device, device_map
        self._tokenizer = tokenizer
        self._loading = RLock()
        self._config: Any = None
        self._loaded: PreTrainedModel | None = None
        self._guidance_tokenizer: LLTokenizer | None = None
        self._scheduler: BatchScheduler

    def load_config(self) -> Any:
        """Load the config, and refuse a model that cannot be used.

        Raises:
            ModelNotFoundError: There is no such model.
            UnsupportedModelError: The model cannot be used for nudging.
        """
        with self._loading:
            if self._config is None:
                with translated_errors(self.name):
                    config = AutoConfig.from_pretrained(
                        resolve_path(self.name, self._revision), revision=self._revision
                    )
                self._refuse_uncroppable_layers(config)
                self._config = config
            return self._config

    def load(self) -> PreTrainedModel:
        """Load the weights. Raise what `load_config` raises, or `SettingsError` if the device cannot be used."""
        with self._loading:
            if self._loaded is not None:
                return self._loaded
            self.load_config()
            device = self._device or _default_device()
            _check_device(device)
            placement = {"device_map": self._device_map} if self._device_map else {}
            dtype = self._dtype or ("float32" if device == "cpu" and not self._device_map else "auto")
            with translated_errors(self.name):
                loaded = AutoModelForCausalLM.from_pretrained(
                    resolve_path(self.name, self._revision), revision=self._revision, dtype=dtype, **placement
                )
            if loaded._is_stateful:
                raise self._unsupported(f"its class {type(loaded).__name__} has a state that cannot be cropped")
            if not placement:
                cast("Any", loaded).to(device)
                pack_weights(loaded)
            self._scheduler = BatchScheduler(loaded, self.timer)
            for size in WARM_UP:
                self._scheduler.run([0] * size, DynamicCache(), 1)
            self._loaded = loaded  # from_pretrained returns it in evaluation mode
            return loaded

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
                vocabulary = self._config.get_text_config().vocab_size
                self._guidance_tokenizer = from_tokenizer(
                    self._tokenizer.loaded, n_vocab=vocabulary, eos_token=sorted(ends)
                )
        return TokenMask(grammar, self._guidance_tokenizer, ends)

    def new_cache(self) -> TransformersCache:
        return TransformersCache(lambda tokens, layers, keep: self.forward(tokens, layers, keep))

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

    def forward(self, tokens: list[int], cache: DynamicCache, keep: int) -> torch.Tensor:
        """Run one forward pass. Return the logits after each of the last `keep` tokens, shape [keep, vocab]."""
        self.load()
        return self._scheduler.run(tokens, cache, keep)

    def _refuse_uncroppable_layers(self, config: Any) -> None:
        kinds = set(getattr(config.get_text_config(), "layer_types", None) or [])
        if other := kinds - CROPPABLE_LAYERS:
            raise self._unsupported(f"it has layers of kind {', '.join(sorted(other))}, whose state cannot be cropped")

    def _unsupported(self, reason: str) -> UnsupportedModelError:
        return UnsupportedModelError(
            f"{self.name} cannot be used for nudging: {reason}, and nudging returns to earlier points of a text. "
            "Choose a model that has attention layers only"
        )


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(
            f"device={device!r} cannot be used: {reason}. Leave it out, or name a device in torch's notation"
        ) from error


def _default_device() -> str:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator.type if accelerator else "cpu"
