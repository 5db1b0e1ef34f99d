"""Count tokens for a pair of models. A prompt that fits into the context window by this count fits both models."""

from collections.abc import Sequence

from nudging import Nudger
from nudging.models.base import Tokenizer

_template_lengths: dict[str, int] = {}
"""The results of `_template_length`. A model on a server renders its template in two requests."""


def longest_encoding(tokenizers: Sequence[Tokenizer], text: str) -> list[int]:
    """Return the text's token ids by the tokenizer that needs most of them."""
    return max((tokenizer.encode(text, special_tokens=False) for tokenizer in tokenizers), key=len)


def context_window(nudger: Nudger, pair: str) -> int:
    """Return the smaller context of both models, without the tokens that their templates add to a prompt.

    Args:
        nudger: The two models.
        pair: Identifies the models and their templates.
    """
    if pair not in _template_lengths:
        _template_lengths[pair] = _template_length(nudger)
    return max(nudger.context_length - _template_lengths[pair], 0)


def _template_length(nudger: Nudger) -> int:
    """Return the number of tokens that the templates add to a question, with a system message or without."""
    question = {"role": "user", "content": "x"}
    conversations = [question], [{"role": "system", "content": "x"}, question]
    base, nudging = nudger.base_model.tokenizer, nudger.nudging_model.tokenizer
    lengths = []
    for prompts in map(nudger.prompts, conversations):
        lengths += [
            len(base.encode(prompts.base, special_tokens=True)),
            len(nudging.encode(prompts.nudging, special_tokens=False)),
        ]
    return max(lengths)
