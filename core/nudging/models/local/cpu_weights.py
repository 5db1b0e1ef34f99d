"""Pack weights for the matrix kernels of a CPU.

torch's linear layer reads a weight in the order in which it is stored. oneDNN, which is part of torch, is faster if the
weight is stored in blocks: on two cores a pass over one token takes half the time, and a pass over sixteen hardly more.
`torch.compile` packs frozen weights too, but needs a compiler and more time.
"""

import inspect
import os
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn

from nudging._logging import log

PACKABLE = {torch.float32, torch.bfloat16}
"""Types that oneDNN multiplies without conversion."""

BATCH = 16
"""The number of tokens per pass for which oneDNN chooses the layout."""

for _cache in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
    # torch and oneDNN cache compiled code for up to a thousand different numbers of tokens. A server, whose passes have
    # all sizes, would grow by hundreds of megabytes before these caches are full.
    os.environ.setdefault(_cache, "256")


class PackedLinear(nn.Module):
    """A linear layer whose weight is packed for oneDNN."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), BATCH)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self._packed, self.bias, "none", [], "")
        return outputs


def pack_weights(model: nn.Module) -> None:
    """Pack the weights of all plain linear layers on a CPU, one by one, so that memory hardly grows.

    If the last layer shares its weight with the embedding, the embedding keeps its own: it looks up rows. A layer stays
    as it is if the code of the model also reads its weight, for example as `self.dt_proj.weight`.
    """
    if not can_pack():
        return
    layers = [
        (parent, name, layer)
        for parent in model.modules()
        for name, layer in parent.named_children()
        if type(layer) is nn.Linear
        and type(layer.weight.data) is torch.Tensor  # not a quantized one
        and layer.weight.device.type == "cpu"
        and layer.weight.dtype in PACKABLE
        and name not in _read_by_others(parent, model)
    ]
    with torch.inference_mode():
        while layers:
            parent, name, layer = layers.pop()
            setattr(parent, name, PackedLinear(layer))


def _read_by_others(parent: nn.Module, model: nn.Module) -> frozenset[str]:
    """Return the names of children whose attributes are read in the code of their parent or of the model."""
    read: Callable[[Any], frozenset[str]] = _attributes_read  # mypy takes the class of a module for unhashable
    return read(type(parent)) | read(type(model))


@cache
def _attributes_read(module: type) -> frozenset[str]:
    """Return the names of attributes whose `weight` or `bias` is read in the file that defines a class."""
    try:
        code = inspect.getsource(inspect.getmodule(module) or module)
    except (OSError, TypeError):  # defined where there is no source
        return frozenset()
    return frozenset(re.findall(r"\.(\w+)\.(?:weight|bias)\b", code))


@cache
def can_pack() -> bool:
    """Return True if this build of torch can pack weights and multiplies with them correctly. If not, log why."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return _cannot_pack("oneDNN is not part of it")
    linear, inputs = nn.Linear(32, 48), torch.randn(1, 3, 32)
    try:
        with torch.inference_mode():
            is_right = torch.allclose(PackedLinear(linear)(inputs), linear(inputs), atol=1e-5)
    except (AttributeError, RuntimeError, TypeError) as error:  # the operators differ between builds
        return _cannot_pack(str(error).split("\n")[0])
    return bool(is_right) or _cannot_pack("its packed layers give wrong results")


def _cannot_pack(reason: str) -> bool:
    log.warning(
        "torch %s cannot pack weights for the CPU (%s). Answers stay right at about half the speed; "
        "the builds of torch on PyPI can",
        torch.__version__,
        reason,
    )
    return False
