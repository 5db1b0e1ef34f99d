"""The state of one token sequence in a transformers model: what a pass leaves for the next one, and how it goes back.

| state | goes back |
|---|---|
| `LayeredState`: one cache layer per model layer | layer by layer: |
| · attention, also with a sliding window or an index | to any length: keys and values are sliced |
| · recurrent or convolutional (linear attention, Mamba, …) | to a copy that was saved there |
| · both in one layer | keys and values are sliced, and the rest is a saved copy |
| · any other | to a saved copy of the layer |
| `OpaqueState`: an object of the model's own | to a saved copy of the object |
| `NoState`: the whole text is fed again at every pass | to any length |
"""

from abc import ABC, abstractmethod
from copy import copy, deepcopy
from typing import Any, TypeAlias, cast

import torch
from transformers import DynamicCache, PreTrainedConfig, cache_utils
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from typing_extensions import Self

Saved: TypeAlias = Any
"""A copy of what cannot be sliced. It is never changed."""


def _layer(name: str) -> Any:
    """Return a class of cache layers, or None if this version of transformers has none of this name."""
    return getattr(cache_utils, name, None)


Indexed, Dummy = _layer("DynamicIndexedLayer"), _layer("DummyLayer")
RecurrentAndFull = _layer("LinearAttentionAndFullAttentionLayer")
RecurrentAndSliding = _layer("LinearAttentionAndSlidingWindowAttentionLayer")

CROPPABLE = (DynamicLayer, Indexed, Dummy)
"""Layers that keep every position and nothing else. Not their subclasses."""

RECURRENT = (
    "conv_states",
    "recurrent_states",
    "is_conv_states_initialized",
    "is_recurrent_states_initialized",
    "has_previous_state",
    "conv_kernel_size",
)
"""The attributes of a layer of both kinds that are copied."""


class State(ABC):
    """The state of a model after the forward passes over one token sequence. Each pass extends it.

    `length` is the number of tokens of the sequence.
    """

    can_crop = False
    """True if the state can go back to any length without a saved copy."""

    has_positions = False
    """True if the model has to be told the positions of the new tokens."""

    one_by_one = False
    """True if each token after the first pass takes a pass of its own."""

    def __init__(self) -> None:
        self.length = 0

    def parts(self, tokens: list[int]) -> list[list[int]]:
        """Return what is fed for these new tokens: one list per forward pass."""
        return [tokens]

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the model's `forward` that hand the state over."""

    def extend(self, tokens: list[int], output: Any) -> None:
        """Take the state after a pass over these new tokens, with this output of the model."""
        self.length += len(tokens)

    def crop(self, length: int) -> None:
        """Go back to this length, if `can_crop`."""
        raise NotImplementedError

    def save(self) -> Saved:
        """Return a copy of what cannot be sliced, to come back to the present length."""
        return None

    @abstractmethod
    def at(self, length: int, saved: Saved) -> Self:
        """Return the state at an earlier length, which shares nothing that changes with this one.

        Args:
            length: The earlier length.
            saved: What `save` returned there.
        """


class LayeredState(State):
    """A cache of transformers with one layer per model layer.

    Layers with a sliding window keep all positions, and the model's mask hides those outside of the window: a layer
    that drops positions could not be cropped.

    Args:
        config: The model's config, which names the kinds of its layers.
        name: The argument of the model's `forward` that takes the cache.
        one_by_one: Feed one token per pass to a sequence that is not empty: some recurrent layers cannot take more.
        has_positions: Tell the model the positions of the new tokens: some do not read them from the cache.
    """

    def __init__(
        self, config: PreTrainedConfig, name: str, *, one_by_one: bool = False, has_positions: bool = False
    ) -> None:
        super().__init__()
        self._config, self._name, self.one_by_one, self.has_positions = config, name, one_by_one, has_positions
        self.cache = DynamicCache(config=config)
        for index, layer in enumerate(self.cache.layers):
            if type(layer) is DynamicSlidingWindowLayer:
                self.cache.layers[index] = cast("Any", DynamicLayer)()
            elif type(layer) is RecurrentAndSliding:
                self.cache.layers[index] = RecurrentAndFull(cast("Any", layer).number_of_states)

    @property
    def can_crop(self) -> bool:  # type: ignore[override]
        return all(type(layer) in CROPPABLE for layer in self.cache.layers)

    @property
    def can_batch(self) -> bool:
        """True if every layer has keys and values and nothing else, so that several sequences can share a pass."""
        return all(type(layer) in (DynamicLayer, Dummy) for layer in self.cache.layers)

    def parts(self, tokens: list[int]) -> list[list[int]]:
        return [[token] for token in tokens] if self.one_by_one and self.length else [tokens]

    def arguments(self) -> dict[str, Any]:
        return {self._name: self.cache, "use_cache": True}

    def crop(self, length: int) -> None:
        for layer in cast("list[Any]", self.cache.layers):
            layer.crop(length - self.length)
        self.length = length

    def save(self) -> Saved:
        with torch.inference_mode():
            return [_copy_of(layer) for layer in self.cache.layers]

    def at(self, length: int, saved: Saved) -> Self:
        earlier = type(self)(self._config, self._name, one_by_one=self.one_by_one, has_positions=self.has_positions)
        if length:
            layers = zip(self.cache.layers, saved or [None] * len(self.cache.layers), strict=True)
            with torch.inference_mode():
                earlier.cache.layers = [_layer_at(layer, length - self.length, its) for layer, its in layers]
            earlier.length = length
        return earlier


def _copy_of(layer: Any) -> dict[str, Any] | None:
    """Return a copy of the attributes of a layer that cannot be sliced, or None if all can."""
    if type(layer) in CROPPABLE:
        return None
    names = [name for name in vars(layer) if name in RECURRENT or type(layer) is not RecurrentAndFull]
    return {name: deepcopy(getattr(layer, name)) for name in names}


def _layer_at(layer: Any, change: int, saved: dict[str, Any] | None) -> Any:
    """Return a layer as it was `-change` tokens ago. Tensors that the layer only replaces are shared."""
    earlier = copy(layer)
    if saved is None:
        earlier.crop(change)
        return earlier
    vars(earlier).update(deepcopy(saved))
    if type(layer) is RecurrentAndFull:
        DynamicLayer.crop(earlier, change)
    return earlier


class OpaqueState(State):
    """A cache object of the model's own, which the first pass returns.

    Args:
        name: The argument of the model's `forward` that takes the object, and the field of its output that returns it.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._object: Any = None

    def arguments(self) -> dict[str, Any]:
        return {self._name: self._object, "use_cache": True}

    def extend(self, tokens: list[int], output: Any) -> None:
        super().extend(tokens, output)
        self._object = getattr(output, self._name)

    def save(self) -> Saved:
        with torch.inference_mode():
            return deepcopy(self._object)

    def at(self, length: int, saved: Saved) -> Self:
        earlier = type(self)(self._name)
        if length:
            with torch.inference_mode():
                earlier._object = deepcopy(saved)
            earlier.length = length
        return earlier


class NoState(State):
    """No cache: every pass feeds the whole sequence."""

    can_crop = True

    def __init__(self) -> None:
        super().__init__()
        self._tokens: list[int] = []

    def parts(self, tokens: list[int]) -> list[list[int]]:
        return [[*self._tokens, *tokens]]

    def arguments(self) -> dict[str, Any]:
        return {"use_cache": False}

    def extend(self, tokens: list[int], output: Any) -> None:
        self._tokens, self.length = tokens, len(tokens)

    def crop(self, length: int) -> None:
        self._tokens, self.length = self._tokens[:length], length

    def at(self, length: int, saved: Saved) -> Self:
        earlier = type(self)()
        earlier._tokens, earlier.length = self._tokens[:length], length
        return earlier


def size_of(saved: Saved) -> int:
    """Return the bytes of all tensors in a saved copy, also of those in objects."""
    size, left, seen = 0, [saved], set()
    while left:
        one = left.pop()
        if isinstance(one, type) or id(one) in seen:  # objects may refer to each other
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            size += one.nbytes
        elif isinstance(one, list | tuple):
            left += one
        else:
            left += (one if isinstance(one, dict) else getattr(one, "__dict__", {})).values()
    return size
