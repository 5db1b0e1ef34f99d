"""Weights laid out for the matrix kernels of a CPU.

torch's own linear layer reads a weight as it lies. oneDNN, which torch brings along, is faster where it lies in blocks:
on two cores a token takes half the time, and sixteen fed together hardly more than one. `torch.compile` does the same
with frozen weights; here it costs seconds and no compiler.
"""

import os
from functools import cache

import torch
from torch import nn

PACKABLE = {torch.float32, torch.bfloat16}
"""Types that oneDNN multiplies in without converting them."""

BATCH = 16
"""The number of tokens that the layout is chosen for."""

for _cache in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
    # torch and oneDNN keep compiled code for every number of tokens ever fed, a thousand and more of them: a server
    # whose passes are of all sizes grows by hundreds of megabytes until these are full
    os.environ.setdefault(_cache, "256")


class PackedLinear(nn.Module):
    """A linear layer with a weight that only oneDNN can read."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), BATCH)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self._packed, self.bias, "none", [], "")
        return outputs


def pack(model: nn.Module) -> None:
    """Pack the weights of all plain linear layers of a model on a CPU, one after the other, and let go of the old ones.

    Where the last layer shares its weight with the embedding, the embedding stays: rows are looked up in it.
    """
    if not can_pack():
        return
    layers = [
        (parent, name, layer)
        for parent in model.modules()
        for name, layer in parent.named_children()
        if type(layer) is nn.Linear and layer.weight.device.type == "cpu" and layer.weight.dtype in PACKABLE
    ]
    with torch.inference_mode():
        while layers:
            parent, name, layer = layers.pop()
            setattr(parent, name, PackedLinear(layer))


@cache
def can_pack() -> bool:
    """Whether this build of torch packs weights, and multiplies by them rightly."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    linear, inputs = nn.Linear(32, 48), torch.randn(1, 3, 32)
    try:
        with torch.inference_mode():
            return bool(torch.allclose(PackedLinear(linear)(inputs), linear(inputs), atol=1e-5))
    except (AttributeError, RuntimeError, TypeError):  # another version of torch
        return False
