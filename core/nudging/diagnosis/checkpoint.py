"""A model in transformers, from its config and the headers of its files."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from nudging.diagnosis.facts import ModelFacts
from nudging.diagnosis.hub import ask_hub, cached_file
from nudging.diagnosis.torch_device import TorchDevice, torch_device
from nudging.errors import ModelNotFoundError, UnsupportedModelError
from nudging.models.config import ModelConfig
from nudging.models.local.loading import LoadingOptions, load_config, model_class
from nudging.models.tokenizer import TransformersTokenizer, resolve_path, translated_errors

WRITERS = ("CausalLM", "LMHead", "ConditionalGeneration")
"""Parts of the names of classes that write text from left to right."""

HUB_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


def read_checkpoint(config: ModelConfig) -> ModelFacts:
    """Return the facts about a model that transformers runs from a folder or from the hub.

    Raises:
        ModelNotFoundError: There is no such model, or its files are damaged or missing.
        UnsupportedModelError: The model cannot be used for nudging.
        SettingsError: The device cannot be used.
    """
    device = torch_device(config)
    folder = Path(resolve_path(config.name, config.revision))
    place = "a folder"
    if not folder.is_dir():
        found = cached_file(config.name, "config.json", config.revision)
        if found is None:
            return _on_hub(config, device)
        folder, place = found.parent, "in the hub's cache"
    options = LoadingOptions(revision=config.revision, model_kwargs=config.model_kwargs or {})
    tokenizer = TransformersTokenizer(config.name, config.revision, options.model_kwargs)
    declared = load_config(config.name, options)
    model = _skeleton(config.name, declared)
    text = declared.get_text_config()
    own = getattr(declared, "dtype", None) or getattr(text, "dtype", None) or "float32"
    dtype = device.dtype(config, str(own).removeprefix("torch."))
    parameters = sum(one.numel() for one in model.parameters())
    files, missing = weight_files(folder)
    to_download = None
    if missing:
        if place == "a folder":
            raise ModelNotFoundError(f"{folder} lacks {missing}: copy or download the model again")
        to_download, place = ask_hub(config.name, config.revision).size, "only partly in the hub's cache"
    for file in files:
        with translated_errors(str(file)), safe_open(file, framework="numpy"):  # raises if the file is cut short
            pass
    weights = parameters * dtype.itemsize
    if getattr(declared, "quantization_config", None):
        weights = sum(file.stat().st_size for file in files)
    return ModelFacts(
        place=place,
        runs_on=device.runs_on,
        devices=device.devices,
        architecture=type(model).__name__,
        parameters=parameters,
        dtype=str(dtype).removeprefix("torch."),
        weights=weights,
        cache=cache_per_token(text, dtype.itemsize),
        context=getattr(text, "max_position_embeddings", None),
        tokenizer=tokenizer,
        to_download=to_download,
    )


def weight_files(folder: Path) -> tuple[list[Path], str | None]:
    """Return the safetensors files of a model that are there, and what is missing, or None if nothing is."""
    index = folder / "model.safetensors.index.json"
    single = folder / "model.safetensors"
    if single.is_file():
        return [single], None
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        missing = [name for name in names if not (folder / name).is_file()]
        there = [folder / name for name in names if name not in missing]
        return there, f"{len(missing)} of {len(names)} files of its weights ({missing[0]}, …)" if missing else None
    if any(folder.glob("pytorch_model*.bin")):
        return [], None
    return [], "its weights (model.safetensors)"


def cache_per_token(config: Any, itemsize: int) -> int:
    """Return the number of bytes of the KV cache per token. Recurrent layers keep none.

    Args:
        config: The config of the text model.
        itemsize: Number of bytes of one value.
    """
    heads = getattr(config, "num_attention_heads", None)
    if not heads:  # recurrent layers only
        return 0
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    values = 2 * key_heads * head_size
    if latent := getattr(config, "qk_nope_head_dim", None):  # DeepSeek's attention: keys and values differ in size
        values = heads * (latent + config.qk_rope_head_dim + config.v_head_dim)
    kinds = getattr(config, "layer_types", None)
    layers = sum("attention" in kind and "linear" not in kind for kind in kinds) if kinds else config.num_hidden_layers
    return int(layers * values * itemsize)


def _skeleton(name: str, config: Any) -> Any:
    """Return the model without weights, on torch's meta device.

    Raises:
        UnsupportedModelError: The model does not write text.
    """
    try:
        with torch.device("meta"):
            model = model_class(name, config).from_config(config)
    except ValueError as error:
        raise ModelNotFoundError(f"cannot use {name!r}: {str(error).splitlines()[0]}") from None
    except (ImportError, RuntimeError) as error:
        raise UnsupportedModelError(f"transformers cannot run {name}: {str(error).splitlines()[0]}") from None
    trained = config.architectures or [type(model).__name__]
    if not any(writer in architecture for architecture in trained for writer in WRITERS):
        raise UnsupportedModelError(
            f"{name} ({', '.join(trained)}) was not trained to write text from left to right: choose a language model "
            "that generates text"
        )
    return model


def _on_hub(config: ModelConfig, device: TorchDevice) -> ModelFacts:
    found = ask_hub(config.name, config.revision)
    dtype = device.dtype(config, HUB_DTYPES.get(found.dtype or "", "float32"))
    terms = ", which has terms to accept there (and `hf auth login` here)" if found.gated else ""
    return ModelFacts(
        place=f"on the hub{terms}",
        runs_on=device.runs_on,
        devices=device.devices,
        architecture=found.architecture,
        parameters=found.parameters,
        dtype=str(dtype).removeprefix("torch."),
        weights=found.parameters and found.parameters * dtype.itemsize,
        to_download=found.size,
    )
