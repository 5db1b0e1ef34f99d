"""The device on which transformers runs a model."""

from dataclasses import dataclass

import torch

from nudging.diagnosis.memory import RAM
from nudging.models.config import ModelConfig
from nudging.models.local.loading import check_device, default_device


@dataclass(frozen=True)
class TorchDevice:
    """The device on which transformers runs a model.

    Args:
        name: Its name in torch's notation.
        runs_on: The same in words.
        devices: The names of the devices whose memory the model may use.
    """

    name: str
    runs_on: str
    devices: frozenset[str]

    def dtype(self, config: ModelConfig, own: str) -> torch.dtype:
        """Return the type in which the weights are loaded.

        Args:
            config: The options of the model.
            own: The type in the checkpoint.
        """
        default = "float32" if self.name == "cpu" and not config.device_map else own
        dtype: torch.dtype = getattr(torch, config.dtype or default)
        return dtype


def torch_device(config: ModelConfig) -> TorchDevice:
    """Return the device on which transformers would run a model.

    Raises:
        SettingsError: The device cannot be used.
    """
    name = config.device or default_device()
    check_device(name)
    if config.device_map:
        gpus = (f"cuda:{index}" for index in range(torch.cuda.device_count()))
        return TorchDevice(name, "transformers on several devices", frozenset([RAM, *gpus]))
    device = torch.device(name)
    memory = f"cuda:{device.index or 0}" if device.type == "cuda" else RAM
    return TorchDevice(name, f"transformers on {name}", frozenset([memory]))
