"""Load the config and the weights of a transformers model, as users of transformers load them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.quantizers.auto import AutoQuantizationConfig

from nudging._extras import required_packages
from nudging._logging import log
from nudging.errors import (
    MissingDependencyError,
    ModelNotFoundError,
    SettingsError,
    UnsupportedModelError,
)
from nudging.models.config import plain_model_kwargs
from nudging.models.local.cpu_weights import pack_weights
from nudging.models.tokenizer import HUB_ARGUMENTS, hub_arguments, resolve_path, translated_errors

ADAPTER_ARGUMENTS = ("token", "cache_dir", "local_files_only", "force_download", "proxies")
"""Those of the arguments that say where files are that also apply to an adapter, which may be anywhere else."""

LONGEST_REASON = 300
"""Maximum number of characters of an error of transformers or peft in a message of ours."""

PACKAGES = {
    "awq": ("gptqmodel",),
    "bitsandbytes": ("bitsandbytes",),
    "compressed-tensors": ("compressed-tensors",),
    "gptq": ("optimum", "gptqmodel"),
    "hqq": ("hqq",),
    "torchao": ("torchao",),
}
"""The packages that run a quantization, by its name in transformers."""

CLASSES = (AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM)
"""The plainest one first. A model that also takes pictures or sound is used for its text."""


@dataclass(frozen=True)
class LoadingOptions:
    """How a model is loaded.

    Args:
        revision: The revision of the hub repository.
        dtype: "float32", "bfloat16" or "float16"; by default the checkpoint's own, but float32 on a CPU unless the
            model is quantized or has a `device_map`.
        device: The device in torch's notation; by default the first accelerator, or else the CPU.
        device_map: A placement on several devices, as in `from_pretrained`. It replaces `device`.
        model_kwargs: Other arguments of `from_pretrained`, for example `quantization_config`.
        adapter: A LoRA adapter of peft: a folder or a hub id.
    """

    revision: str | None = None
    dtype: str | None = None
    device: str | None = None
    device_map: str | dict[str, Any] | None = None
    model_kwargs: Mapping[str, Any] = field(default_factory=dict, repr=False)  # it may have an access token
    adapter: str | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """The options as plain data, without an access token."""
        return {**vars(self), "model_kwargs": plain_model_kwargs(self.model_kwargs)}


def load_config(name: str, options: LoadingOptions) -> PreTrainedConfig:
    """Return the config of a model, with the fields that `model_kwargs` change.

    Raises:
        ModelNotFoundError: There is no such model.
        UnsupportedModelError: The model does not write text from left to right.
        SettingsError: An argument cannot be used.
    """
    path = resolve_path(name, options.revision)
    _check_no_adapter(name, Path(path, options.model_kwargs.get("subfolder") or ""))
    changes = {field: value for field, value in options.model_kwargs.items() if field != "quantization_config"}
    with _translated_arguments(name, options):
        config: PreTrainedConfig
        config, _ = AutoConfig.from_pretrained(
            path,
            revision=options.revision,
            return_unused_kwargs=True,
            **changes | hub_arguments(options.model_kwargs),
        )
    model_class(name, config)
    return config


def load_weights(name: str, config: PreTrainedConfig, options: LoadingOptions) -> PreTrainedModel:
    """Return a model in evaluation mode, on its device.

    Raises:
        ModelNotFoundError: It cannot be loaded.
        SettingsError: The device, an argument or the adapter cannot be used.
        MissingDependencyError: A package for the quantization or the adapter is not installed.
    """
    device = options.device or default_device()
    check_device(device)
    quantization = options.model_kwargs.get("quantization_config") or _own_quantization(config)
    is_quantized = bool(quantization)
    _check_packages(name, quantization)
    placement: dict[str, Any] = {"device_map": options.device_map} if options.device_map else {}
    if is_quantized and not placement:  # quantized weights cannot be moved later
        placement = {"device_map": {"": device}}
    on_cpu = device == "cpu" and not placement
    with _translated_arguments(name, options, is_quantized):
        model, report = model_class(name, config).from_pretrained(
            resolve_path(name, options.revision),
            revision=options.revision,
            dtype=options.dtype or ("float32" if on_cpu else "auto"),
            output_loading_info=True,
            **placement,
            **_arguments(options.model_kwargs),
        )
    if missing := sorted(report["missing_keys"]):
        raise UnsupportedModelError(
            f"{name} cannot be used for nudging: it has no weights for {len(missing)} parts of a "
            f"{type(model).__name__}, such as {missing[0]}. Choose a model for text generation"
        )
    _warn_of_outliers(name, model)
    if options.adapter:
        model = _with_adapter(name, model, options, is_quantized)
    if not placement:
        cast("Any", model).to(device)
        if not getattr(model, "_hf_peft_config_loaded", False):  # a folder with an adapter beside the weights
            pack_weights(model)
    return cast("PreTrainedModel", model)


def _check_no_adapter(name: str, folder: Path) -> None:
    """Raise if a folder has an adapter and no model."""
    if (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
        raise ModelNotFoundError(
            f"{name!r} is an adapter: give the model that it was made for, and {name!r} as base_adapter or "
            "nudging_adapter"
        )


def _own_quantization(config: PreTrainedConfig) -> Any:
    """Return the quantization of a checkpoint, or None."""
    configs = (config, config.get_text_config(decoder=True))
    return next((found for one in configs if (found := getattr(one, "quantization_config", None))), None)


def _check_packages(name: str, quantization: Any) -> None:
    """Raise if a package is missing that runs this quantization. transformers' own errors do not always name it."""
    plain = quantization if isinstance(quantization, Mapping) else getattr(quantization, "__dict__", {})
    is_of_bitsandbytes = plain.get("load_in_4bit") or plain.get("load_in_8bit")
    found = plain.get("quant_method")
    method = "bitsandbytes" if is_of_bitsandbytes else str(getattr(found, "value", found))
    missing = [package for package in PACKAGES.get(method, ()) if not find_spec(package.replace("-", "_"))]
    if missing:
        raise MissingDependencyError(
            f"{name!r} with the quantization {method} needs the package {missing[0]}: pip install {' '.join(missing)}"
        )


def _warn_of_outliers(name: str, model: PreTrainedModel) -> None:
    """Log that bitsandbytes rounds a token otherwise if another one in its pass has an outlier."""
    config = getattr(getattr(model, "hf_quantizer", None), "quantization_config", None)
    if getattr(config, "load_in_8bit", False) and getattr(config, "llm_int8_threshold", 0):
        log.warning(
            "%s: with 8 bits of bitsandbytes, outliers of one token change how the others in its pass are rounded, so "
            'a draft may change an answer slightly. "llm_int8_threshold": 0.0 in quantization_config avoids it',
            name,
        )


def _arguments(model_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments for `from_pretrained`: with the token itself, and with a quantization config of its own.

    transformers changes the object that it gets, and takes no dictionary for a checkpoint that is already quantized.
    """
    arguments = {**model_kwargs, **hub_arguments(model_kwargs)}
    if quantization := model_kwargs.get("quantization_config"):
        is_plain = isinstance(quantization, Mapping)
        own = AutoQuantizationConfig.from_dict(dict(quantization)) if is_plain else deepcopy(quantization)
        arguments["quantization_config"] = own
    return arguments


def model_class(name: str, config: PreTrainedConfig) -> Any:
    """Return the auto class that loads a model.

    Raises:
        UnsupportedModelError: No class loads it for text generation from left to right.
    """
    if "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}):
        return AutoModelForCausalLM
    found = [] if config.is_encoder_decoder else [one for one in CLASSES if type(config) in one._model_mapping]
    if found:
        trained = config.architectures or []
        classes: dict[Any, Any] = {one: one._model_mapping[type(config)] for one in found}
        return next((one for one in found if classes[one].__name__ in trained), found[0])
    kind = "an encoder-decoder" if config.is_encoder_decoder else "no language model"
    raise UnsupportedModelError(
        f"{name} cannot be used for nudging: {config.model_type} is {kind}, and does not continue a text. Choose a "
        "model for text generation"
    )


def _with_adapter(name: str, model: PreTrainedModel, options: LoadingOptions, is_quantized: bool) -> PreTrainedModel:
    """Return the model with an adapter: merged into its weights, or beside them if they are quantized.

    Raises:
        ModelNotFoundError: There is no such adapter.
        SettingsError: The adapter does not fit the model.
        MissingDependencyError: peft is not installed.
    """
    adapter = str(Path(str(options.adapter)).expanduser())
    with required_packages(f"the adapter {adapter!r}", extra="peft"):
        from peft import PeftConfig, PeftModel
    hub = {field: value for field, value in hub_arguments(options.model_kwargs).items() if field in ADAPTER_ARGUMENTS}
    try:
        config = PeftConfig.from_pretrained(adapter, **hub)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelNotFoundError(
            f"cannot load the adapter {adapter!r}: {_reason(error)}. Give the folder or hub id of a LoRA adapter"
        ) from error
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    is_activated = bool(getattr(config, "alora_invocation_tokens", None))  # works from certain tokens on only
    if config.is_prompt_learning or is_activated or (is_quantized and kind != "LORA"):
        raise SettingsError(
            f"the adapter {adapter!r} is of type {'aLoRA' if is_activated else kind}, which cannot be used "
            f"{'with quantized weights' if is_quantized else 'here'}: give a LoRA adapter"
        )
    try:
        where: dict[str, Any] = {"torch_device": str(model.device), "device_map": _placed_in_peft(model)}
        adapted: Any = PeftModel.from_pretrained(cast("Any", model), adapter, **where, **hub)
        # again, because only this method says what did not fit
        keys = getattr(model, "_checkpoint_conversion_mapping", {})
        fit = adapted.load_adapter(adapter, "default", key_mapping=keys, **where, **hub)
        if wrong := [*fit.missing_keys, *fit.unexpected_keys]:
            raise ValueError(f"{len(wrong)} of its weights are only in one of them, such as {wrong[0]}")
        whole = adapted.get_base_model() if is_quantized else adapted.merge_and_unload()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise SettingsError(
            f"the adapter {adapter!r} does not fit {name!r}: {_reason(error)}. Give an adapter that was made for this "
            "model"
        ) from error
    return cast("PreTrainedModel", whole.eval())


def _placed_in_peft(model: PreTrainedModel) -> dict[str, Any] | None:
    """Return the device of each part of a model by the part's name in peft, or None if no device map placed it."""
    placed = getattr(model, "hf_device_map", None)
    return placed and {f"base_model.model.{part}" if part else "": device for part, device in placed.items()}


@contextmanager
def _translated_arguments(name: str, options: LoadingOptions, is_quantized: bool = False) -> Iterator[None]:
    """Translate the errors of `from_pretrained`, also those that come from `model_kwargs` or a quantization."""
    given = [argument for argument in options.model_kwargs if argument not in HUB_ARGUMENTS]
    try:
        with translated_errors(name):
            yield
    except ImportError as error:  # for example torchao or bitsandbytes
        package = f": pip install {error.name}" if isinstance(error, ModuleNotFoundError) and error.name else ""
        raise MissingDependencyError(f"{name!r} cannot be loaded: {_reason(error)}{package}") from error
    except ModelNotFoundError as error:
        cause = error.__cause__
        if not given or not isinstance(cause, ValueError) or "trust_remote_code" in str(cause):
            raise
        raise _wrong_arguments(name, given, cause) from error
    except Exception as error:
        if given:
            raise _wrong_arguments(name, given, error) from error
        if is_quantized:
            raise UnsupportedModelError(
                f"{name} is quantized, and cannot be loaded here: {_reason(error)}. Choose another quantization"
            ) from error
        raise


def _wrong_arguments(name: str, given: list[str], error: Exception) -> SettingsError:
    return SettingsError(
        f"{name!r} cannot be loaded with model_kwargs {', '.join(given)}: {_reason(error)}. They are arguments of "
        "transformers' from_pretrained"
    )


def _reason(error: BaseException) -> str:
    """Return the first sentence of an error, shortened: some list all layers of a model."""
    first, *more = (str(error).strip() or type(error).__name__).splitlines()
    line = f"{first} {more[0].strip()}" if first.endswith(":") and more else first
    line = line.rstrip(".!")
    return line if len(line) <= LONGEST_REASON else line[:LONGEST_REASON] + "…"


def check_device(device: str) -> None:
    """Raise `SettingsError` if torch cannot use a device."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(
            f"device={device!r} cannot be used: {reason}. Leave it out, or name a device in torch's notation"
        ) from error


def default_device() -> str:
    """Return the first accelerator, or else the CPU."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator.type if accelerator else "cpu"
