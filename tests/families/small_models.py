"""Small random models of every family in transformers that can be loaded to write text.

The families come from transformers' own tables, so a family that is new in transformers appears by itself. A model is
built from the default config of its family: sizes are replaced by name (`SIZES`), and of the layers, the first of each
kind is kept. `EXCEPTIONS` has what these two rules get wrong.

    model = small_model("qwen3_5")
    folder = small_folder("qwen3_5", tmp_path)  # model, tokenizer and chat template, for Nudger(base_model=folder)
"""

import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from families.sizes import DEFAULTS, EXCEPTIONS, SEEDS, SIZES
from tiny import tiny_tokenizer
from tokenizers import AddedToken
from transformers import CONFIG_MAPPING, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.integrations.heterogeneity.configuration_utils import AmbiguousGlobalPerLayerAttributeError
from transformers.models.auto import modeling_auto

LARGEST = 8_000_000
"""The largest number of parameters that counts as small. More means that a size is missing in `SIZES`."""

RESERVED = 24
"""Number of tokens at the end of the vocabulary that no text contains: the places of images and sounds."""

FIXED = ("architectures", "id2label", "label2id", "transformers_version", "dtype", "problem_type")
DERIVED = ("intermediate_size", "ffn_hidden_size", "n_inner", "embedding_size")
"""Fields that a config computes from others if they are None."""


def decoder_types() -> dict[str, str]:
    """Return the class of every type of model that transformers loads to write text, by model type.

    A type that is in both tables gets the class of its checkpoints, which is the one for pictures and text.
    """
    return {
        **modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        **modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
        **modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    }


def small_config(model_type: str, **changes: Any) -> PreTrainedConfig:
    """Return a small config of a type of model, with `changes` to its fields."""
    tokens = _TokenIds(small_tokenizer())
    given = DEFAULTS.get(model_type, {})
    return _shrunk(CONFIG_MAPPING[model_type](**given), given, tokens, changes)


def as_decoder(model_type: str) -> dict[str, Any]:
    """Return the changes to the config of an encoder that make it a left-to-right decoder, if there are such."""
    config = small_config(model_type)
    return {switch: True for switch in ("is_decoder", "causal") if getattr(config, switch, None) is False}


def small_model(model_type: str, seed: int | None = None, **changes: Any) -> PreTrainedModel:
    """Return a small random model in float32 on the CPU, with `changes` to its config.

    Raises:
        ValueError: The model is not small.
        Exception: transformers cannot build it, for a reason that its error gives.
    """
    config = small_config(model_type, **changes)
    model_class = getattr(transformers, decoder_types()[model_type])
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in _built(model_class, config).parameters())
    if size > LARGEST:
        raise ValueError(f"{model_type} has {size:,} parameters. Add the name of what is large to SIZES")
    seed = SEEDS.get(model_type, 0) if seed is None else seed
    torch.manual_seed(seed)
    model = _built(model_class, config)
    cast("Any", model).float().eval()
    _randomize(model, torch.Generator().manual_seed(seed))
    _calibrate(model)
    return model


def small_folder(model_type: str, folder: Path, seed: int | None = None, **changes: Any) -> Path:
    """Save a small model, a tokenizer and a chat template, and return the folder."""
    small_model(model_type, seed, **changes).save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    return folder


def small_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer of all small models: byte-level, about 300 tokens, without a BOS token."""
    tokenizer = tiny_tokenizer("the sky is blue and the sun is far away, so we go there", 330, chat=True)
    tokenizer.add_tokens([AddedToken(f"<reserved{index}>", special=True) for index in range(RESERVED)])
    return tokenizer


class _TokenIds:
    """The token ids of a config: the end token for all that a tokenizer has, and reserved tokens for pictures."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.vocabulary = len(tokenizer)
        self._end = tokenizer.eos_token_id
        self._reserved = self.vocabulary

    def __call__(self, name: str) -> Any:
        if name.split("_")[0] in ("bos", "eos", "pad", "sep", "cls", "unk", "mask", "forced", "decoder", "eod"):
            return self._end
        self._reserved -= 1
        return self._reserved


def _shrunk(
    default: PreTrainedConfig, given: Mapping[str, Any], tokens: _TokenIds, changes: Mapping[str, Any]
) -> PreTrainedConfig:
    """Return a small copy of a config that was made from the `given` arguments, and of the configs within it."""
    layers = _kinds_of_layers(default)
    small: dict[str, Any] = {}
    for field in fields(default):
        name, value = field.name, _value(default, field.name)
        if isinstance(value, PreTrainedConfig):
            small[name] = _shrunk(value, given.get(name, {}), tokens, {})
        elif name.endswith(("_token_id", "_token_index", "_token_idx")) and isinstance(value, (int, list)):
            small[name] = tokens(name)
        elif _is_per_layer(value, default) and layers:
            values = range(len(layers)) if _is_index(value) else [value[layer] for layer in layers]
            small[name] = type(value)(_small(name, one, default) for one in values)
        elif name in given or field.default is not None or (name in SIZES and name not in DERIVED):
            small[name] = _small(name, value, default, tokens.vocabulary)
    if layers:
        small[default.attribute_map.get("num_hidden_layers", "num_hidden_layers")] = len(layers)
        if shared := small.get("num_kv_shared_layers"):
            small["num_kv_shared_layers"] = sum(layer >= default.num_hidden_layers - shared for layer in layers)
    small |= {**_rotary_sections(default), **EXCEPTIONS.get(default.model_type, {}), **changes}
    return type(default)(**{name: value for name, value in small.items() if name not in FIXED})


def _small(name: str, value: Any, default: PreTrainedConfig, vocabulary: int = 0) -> Any:
    if value is None and name in ("head_dim", "num_experts_per_tok"):
        return SIZES[name]
    if value is None and name == "num_key_value_heads":
        return SIZES["num_attention_heads"]
    if name == "tie_word_embeddings":
        return False  # a random model with tied weights repeats one token
    if isinstance(value, dict):
        return dict(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return value
    if "vocab_size" in name and value > SIZES["hidden_size"]:
        return min(value, vocabulary)
    if name == "head_dim" and value == _value(default, "qk_rope_head_dim"):
        return SIZES["qk_rope_head_dim"]
    if name.endswith("num_key_value_heads") and value == _value(default, name.replace("key_value", "attention")):
        return SIZES["num_attention_heads"]
    return type(value)(min(value, SIZES.get(name, value)))


def _value(config: PreTrainedConfig, name: str) -> Any:
    """Return the value of a field, or its default where layers differ in it."""
    try:
        return getattr(config, name, None)
    except AmbiguousGlobalPerLayerAttributeError:
        return next(field.default for field in fields(config) if field.name == name)


def _is_per_layer(value: Any, config: PreTrainedConfig) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == getattr(config, "num_hidden_layers", None)


def _is_index(value: Any) -> bool:
    """Return True for a list of layers, all of them, rather than of something about each layer."""
    return list(value) == list(range(len(value)))


def _kinds_of_layers(config: PreTrainedConfig) -> list[int]:
    """Return the first layer of each kind, and the last layer. Empty if the config does not tell kinds apart."""
    values = [_value(config, field.name) for field in fields(config)]
    per_layer = [value for value in values if _is_per_layer(value, config) and not _is_index(value)]
    if not per_layer:
        return []
    count = len(per_layer[0])
    unshared = count - (getattr(config, "num_kv_shared_layers", None) or 0)
    kinds: dict[str, int] = {}
    for layer in range(count):
        kinds.setdefault(repr([layer >= unshared, *(value[layer] for value in per_layer)]), layer)
    return sorted({*kinds.values(), count - 1})


def _rotary_sections(default: PreTrainedConfig) -> dict[str, Any]:
    """Split the rotary dimensions of a small head among time, height and width, where a family does so."""
    rotary = _value(default, "rope_parameters")
    if not isinstance(rotary, dict) or "rope_type" not in rotary:
        return {}
    if "mrope_section" not in {*default.ignore_keys_at_rope_validation, *rotary}:
        return {}
    half = int(SIZES["head_dim"] * rotary.get("partial_rotary_factor", 1)) // 2
    width = half * 3 // 8
    return {"rope_parameters": {**rotary, "mrope_section": [half - 2 * width, width, width]}}


def _built(model_class: Any, config: PreTrainedConfig) -> PreTrainedModel:
    model: PreTrainedModel = model_class(config)
    return model


def _randomize(model: PreTrainedModel, generator: torch.Generator) -> None:
    """Draw all weights so that every layer matters, and that a recurrent state remembers about ten tokens."""
    keep = ("time_decay", "time_first", "recurrent_param", "sinks", "lambda")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.empty_like(parameter).normal_(generator=generator)
            if name.lower().endswith("a_log"):
                parameter.copy_(0.3 * noise)  # the logarithm of the decay
            elif name.endswith(("dt_bias", "dt_proj.bias")):
                parameter.copy_(0.5 * noise - 2)  # softplus(-2) is 0.13
            elif parameter.dim() < 2 or any(part in name for part in keep):
                parameter.add_(noise, alpha=0.1)
            elif "embed" in name or "wte" in name or "wpe" in name:
                parameter.copy_(0.3 * noise)
            else:
                inputs = math.prod(parameter.shape[1:]) if parameter.dim() != 3 else max(parameter.shape[-2:])
                parameter.copy_(noise * 1.5 / math.sqrt(inputs))


def _calibrate(model: PreTrainedModel) -> None:
    """Scale the output layer: clear choices, printable text only, and no end token."""
    output = cast("Any", model).get_output_embeddings()
    tokenizer = small_tokenizer()
    texts = [str(tokenizer.decode([token])) for token in range(len(tokenizer))]
    hidden = [token for token, text in enumerate(texts) if not (text.isascii() and text.isprintable())]
    hidden += [token for token, text in enumerate(texts) if text in tokenizer.all_special_tokens]
    with torch.no_grad():
        if output is not None and len(output.weight) >= len(texts):
            output.weight[sorted({*hidden, *range(len(texts) - RESERVED, len(texts))})] = 0
        text = torch.arange(40, 80)[None]
        spread = model(input_ids=text, use_cache=False).logits[..., : len(texts)].float().std()
        if output is not None and math.isfinite(spread) and spread > 0:
            output.weight *= 4 / spread
