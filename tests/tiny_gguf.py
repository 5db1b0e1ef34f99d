"""Tiny random GGUF files, and LoRA adapters for them. They test the code, not the quality of answers.

The weights are float32, so that a pass over many tokens and a pass over one choose the same token. The tokenizers are
those of `tiny.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter, TokenType
from numpy.typing import NDArray
from tiny import CHAT_TEMPLATE, FAVOURED, tiny_tokenizer
from transformers import PreTrainedTokenizerFast

EMBEDDING, FEED_FORWARD, HEADS = 32, 64, 2
INNER, STATE, RANK, KERNEL = 2 * EMBEDDING, 4, 2, 4
"""Sizes of a Mamba layer."""

PROSE = "the sky is blue and the sun is far away, so we go there"
OTHER_PROSE = "blue whales are far bigger than the small ones and say so all day"

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Vocabulary:
    """The tokenizer of a tiny GGUF file.

    Args:
        prose: The text on which the tokenizer is trained.
        size: The number of its tokens.
        bos: Add the token <start>, and to every text.
        turn: Add the token <turn>, which ends a turn as <end> does.
    """

    prose: str = PROSE
    size: int = 330
    bos: bool = False
    turn: bool = False


@cache
def tokenizer_of(vocabulary: Vocabulary) -> PreTrainedTokenizerFast:
    """Return the same tokenizer in transformers."""
    tokenizer = tiny_tokenizer(vocabulary.prose, vocabulary.size, bos=vocabulary.bos)
    if vocabulary.turn:
        tokenizer.add_special_tokens({"additional_special_tokens": ["<turn>"]})
    return tokenizer


OTHER = Vocabulary(OTHER_PROSE, 300, bos=True)
"""The vocabulary of the tiny base model. It shares no ids with the default one."""


def llama_gguf(
    path: Path,
    seed: int = 0,
    vocabulary: Vocabulary = Vocabulary(),
    context: int = 512,
    templates: Mapping[str, str] | str | None = CHAT_TEMPLATE,
    architecture: str = "llama",
    edit: Callable[[GGUFWriter], None] = lambda writer: None,
) -> Path:
    """Write a transformer of two layers and return its path.

    Args:
        path: The file.
        seed: The seed of the weights.
        vocabulary: The tokenizer.
        context: The length of the context.
        templates: The chat template, or several by their names. None writes none.
        architecture: The name of the architecture in the metadata.
        edit: Called with the writer before the file is written, to add metadata.
    """
    draw, writer = _draw(seed), _writer(path, architecture, vocabulary, context, layers=2)
    _add_attention_sizes(writer, 1)
    for layer in range(2):
        _add_attention(writer, draw, layer)
        _add_feed_forward(writer, draw, layer)
    _add_embeddings(writer, draw, vocabulary)
    if templates is not None:
        several = [] if isinstance(templates, str) else [{"name": n, "template": t} for n, t in templates.items()]
        writer.add_chat_template(templates if isinstance(templates, str) else several)
    edit(writer)
    return _written(writer, path)


def mamba_gguf(path: Path, seed: int = 0) -> Path:
    """Write a recurrent model, whose state cannot be cropped."""
    vocabulary, draw = Vocabulary(size=300), _draw(seed)
    writer = _writer(path, "mamba", vocabulary, 512, layers=2)
    _add_mamba_sizes(writer)
    for layer in range(2):
        _add_mamba(writer, draw, layer)
    _add_embeddings(writer, draw, vocabulary)
    writer.add_chat_template(CHAT_TEMPLATE)
    return _written(writer, path)


def jamba_gguf(path: Path, seed: int = 0) -> Path:
    """Write a hybrid model: a Mamba layer and an attention layer."""
    vocabulary, draw = Vocabulary(size=300), _draw(seed)
    writer = _writer(path, "jamba", vocabulary, 512, layers=2)
    _add_mamba_sizes(writer)
    _add_attention_sizes(writer, [0, 1])
    _add_mamba(writer, draw, 0, norms=True)
    _add_attention(writer, draw, 1)
    for layer in range(2):
        _add_feed_forward(writer, draw, layer)
    _add_embeddings(writer, draw, vocabulary)
    writer.add_chat_template(CHAT_TEMPLATE)
    return _written(writer, path)


def lora_gguf(path: Path, seed: int = 0, architecture: str = "llama", embedding: int = EMBEDDING) -> Path:
    """Write a LoRA adapter of rank 2 for `llama_gguf`.

    Args:
        path: The file.
        seed: The seed of the adapter's weights.
        architecture: The name of the architecture that it is for.
        embedding: The size of the embeddings that it is for.
    """
    draw, writer = _draw(seed), GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 2.0)
    for layer in range(2):
        writer.add_tensor(f"blk.{layer}.attn_q.weight.lora_a", draw(2, embedding))
        writer.add_tensor(f"blk.{layer}.attn_q.weight.lora_b", draw(embedding, 2))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight.lora_a", draw(2, FEED_FORWARD))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight.lora_b", draw(embedding, 2))
    return _written(writer, path)


def _draw(seed: int) -> Callable[..., Array]:
    generator = np.random.Generator(np.random.PCG64(seed))
    return lambda *shape: (0.15 * generator.standard_normal(shape)).astype(np.float32)


def _writer(path: Path, architecture: str, vocabulary: Vocabulary, context: int, layers: int) -> GGUFWriter:
    """Return a writer with the sizes that all models have, and with the tokenizer."""
    tokenizer, writer = tokenizer_of(vocabulary), GGUFWriter(path, architecture)
    writer.add_context_length(context)
    writer.add_embedding_length(EMBEDDING)
    writer.add_block_count(layers)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokenizer))

    specials = {tokenizer.eos_token_id, tokenizer.bos_token_id, *tokenizer.all_special_ids}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))
    writer.add_token_types(
        [TokenType.CONTROL if token in specials else TokenType.NORMAL for token in range(len(tokenizer))]
    )
    writer.add_token_merges(_merges(tokenizer))
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(vocabulary.bos)
    if vocabulary.bos:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    if vocabulary.turn:
        writer.add_eot_token_id(tokenizer.convert_tokens_to_ids("<turn>"))
    return writer


def _merges(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    import json

    model: Any = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    return [one if isinstance(one, str) else " ".join(one) for one in model["merges"]]


def _add_attention_sizes(writer: GGUFWriter, heads: int | Sequence[int]) -> None:
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(heads)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_rope_dimension_count(EMBEDDING // HEADS)


def _add_attention(writer: GGUFWriter, draw: Callable[..., Array], layer: int) -> None:
    block = f"blk.{layer}."
    writer.add_tensor(block + "attn_norm.weight", np.ones(EMBEDDING, dtype=np.float32))
    writer.add_tensor(block + "attn_q.weight", draw(EMBEDDING, EMBEDDING))
    writer.add_tensor(block + "attn_k.weight", draw(EMBEDDING // HEADS, EMBEDDING))
    writer.add_tensor(block + "attn_v.weight", draw(EMBEDDING // HEADS, EMBEDDING))
    writer.add_tensor(block + "attn_output.weight", draw(EMBEDDING, EMBEDDING))


def _add_feed_forward(writer: GGUFWriter, draw: Callable[..., Array], layer: int) -> None:
    block = f"blk.{layer}."
    writer.add_tensor(block + "ffn_norm.weight", np.ones(EMBEDDING, dtype=np.float32))
    writer.add_tensor(block + "ffn_gate.weight", draw(FEED_FORWARD, EMBEDDING))
    writer.add_tensor(block + "ffn_up.weight", draw(FEED_FORWARD, EMBEDDING))
    writer.add_tensor(block + "ffn_down.weight", draw(EMBEDDING, FEED_FORWARD))


def _add_mamba_sizes(writer: GGUFWriter) -> None:
    writer.add_ssm_conv_kernel(KERNEL)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)


def _add_mamba(writer: GGUFWriter, draw: Callable[..., Array], layer: int, norms: bool = False) -> None:
    block = f"blk.{layer}."
    writer.add_tensor(block + "attn_norm.weight", np.ones(EMBEDDING, dtype=np.float32))
    writer.add_tensor(block + "ssm_in.weight", 2 * draw(2 * INNER, EMBEDDING))
    writer.add_tensor(block + "ssm_conv1d.weight", 4 * draw(INNER, KERNEL))
    writer.add_tensor(block + "ssm_conv1d.bias", draw(INNER))
    writer.add_tensor(block + "ssm_x.weight", 3 * draw(RANK + 2 * STATE, INNER))
    writer.add_tensor(block + "ssm_dt.weight", 3 * draw(INNER, RANK))
    writer.add_tensor(block + "ssm_dt.bias", draw(INNER))
    writer.add_tensor(block + "ssm_a", -np.exp(draw(INNER, STATE)))
    writer.add_tensor(block + "ssm_d", np.ones(INNER, dtype=np.float32))
    writer.add_tensor(block + "ssm_out.weight", 3 * draw(EMBEDDING, INNER))
    if norms:
        writer.add_tensor(block + "ssm_dt_norm.weight", np.ones(RANK, dtype=np.float32))
        writer.add_tensor(block + "ssm_b_norm.weight", np.ones(STATE, dtype=np.float32))
        writer.add_tensor(block + "ssm_c_norm.weight", np.ones(STATE, dtype=np.float32))


def _add_embeddings(writer: GGUFWriter, draw: Callable[..., Array], vocabulary: Vocabulary) -> None:
    tokens = tokenizer_of(vocabulary).get_vocab()
    output = draw(len(tokens), EMBEDDING)
    output[[token for text, token in tokens.items() if text.startswith(FAVOURED)]] *= 3
    writer.add_tensor("token_embd.weight", draw(len(tokens), EMBEDDING))
    writer.add_tensor("output_norm.weight", np.ones(EMBEDDING, dtype=np.float32))
    writer.add_tensor("output.weight", output)


def _written(writer: GGUFWriter, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
