"""KV caches of transformers."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from transformers.cache_utils import DynamicCache, DynamicLayer

from nudging.models.decoding.kv_cache import KVCache

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


class TransformersCache(KVCache):
    """The keys and values of one token sequence in a transformers model.

    All layers keep every position, also those with a sliding window, whose masks hide what is outside of the window:
    a layer that drops old positions could not be cropped.

    Args:
        forward: Runs a forward pass: (tokens, layers, keep) -> the logits after each of the last `keep` tokens, shape
            [keep, vocab].
    """

    def __init__(self, forward: "Callable[[list[int], DynamicCache, int], torch.Tensor]") -> None:
        super().__init__()
        self._forward = forward
        self._layers = DynamicCache()  # keys and values per layer: [1, heads, len(tokens), head size]

    def _run(self, tokens: list[int], keep: int, read: Callable[[Any], T]) -> T:
        return read(self._forward(tokens, self._layers, keep))

    def _clear(self) -> None:
        self._layers = DynamicCache()

    def _crop(self, length: int) -> int:
        self._layers.crop(length - len(self.tokens))
        return length

    def _fork(self, length: int) -> "tuple[TransformersCache, int]":
        fork = TransformersCache(self._forward)
        if length:
            for index, layer in enumerate(cast("list[DynamicLayer]", self._layers.layers)):
                keys, values = cast("torch.Tensor", layer.keys), cast("torch.Tensor", layer.values)
                fork._layers.update(keys[..., :length, :], values[..., :length, :], index)
        return fork, length
