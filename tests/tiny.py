"""Tiny random models in folders, as transformers saves them. They test the code, not the quality of answers.

The weights are drawn so that a model is sure of a token now and then. The tokenizers are byte-level and trained on a
few words each. So no two of them have the same ids, and most characters outside of ASCII are several tokens.
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MambaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

CHAT_TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}\n{% endfor %}<|assistant|>"
WINDOW = 24
FAVOURED = ("Ġ", "ð", "Ł", "ĺ", "ĩ")
"""Spaces and the bytes of an emoji. Random weights alone would rarely choose them."""


def tiny_llama(folder: Path, seed: int = 0, context: int = 512, chat: bool = True) -> Path:
    """Save a model of a common architecture, with a chat template, and return its folder."""
    tokenizer = tiny_tokenizer("the sky is blue and the sun is far away, so we go there", 330, chat=chat)
    config = LlamaConfig(
        **_size(tokenizer), intermediate_size=64, num_key_value_heads=1, max_position_embeddings=context
    )
    return _save(folder, config, tokenizer, seed)


def tiny_gemma(folder: Path, seed: int = 0, context: int = 512) -> Path:
    """Save a model in which every other layer has a sliding window of 24 tokens. Its tokenizer adds a BOS."""
    tokenizer = tiny_tokenizer("blue whales are far bigger than the small ones and say so all day", 300, bos=True)
    config = Gemma3TextConfig(
        **_size(tokenizer),
        intermediate_size=64,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention"],
        max_position_embeddings=context,
        bos_token_id=tokenizer.bos_token_id,
    )
    return _save(folder, config, tokenizer, seed)


def tiny_mamba(folder: Path) -> Path:
    """Save a recurrent model, whose state cannot be cropped."""
    tokenizer = tiny_tokenizer("the sky is blue", 300)
    config = MambaConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, state_size=4)
    return _save(folder, config, tokenizer, 0)


def _size(tokenizer: PreTrainedTokenizerFast) -> dict[str, object]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "initializer_range": 0.15,
        "tie_word_embeddings": False,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
    }


def tiny_tokenizer(text: str, size: int, bos: bool = False, chat: bool = False) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer that is trained on a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<end>", *(["<start>"] if bos else [])]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text] * 3, trainer)
    if bos:
        from tokenizers.processors import TemplateProcessing

        start = ("<start>", tokenizer.token_to_id("<start>"))
        tokenizer.post_processor = TemplateProcessing(single="<start> $A", special_tokens=[start])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<end>",
        bos_token="<start>" if bos else None,
    )
    fast.chat_template = CHAT_TEMPLATE if chat else None
    return fast


def _save(folder: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerFast, seed: int) -> Path:
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    if config.model_type != "mamba":
        words = [token for text, token in tokenizer.get_vocab().items() if text.startswith(FAVOURED)]
        with torch.no_grad():
            model.lm_head.weight[words] *= 3
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
