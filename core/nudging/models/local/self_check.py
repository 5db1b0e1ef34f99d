"""A check of a model while it is loaded: which state gives the same logits as no state?

transformers has more than two hundred families of models, and new ones every month. Instead of a list of those whose
caches work, each model decodes a few tokens with each kind of state. The first one that agrees with a decoder without
any cache is used.
"""

from collections.abc import Callable, Iterator
from functools import partial
from inspect import signature

import torch
from transformers import PreTrainedModel

from nudging._logging import log
from nudging.errors import UnsupportedModelError
from nudging.models.local.state import LayeredState, NoState, OpaqueState, State

LENGTH = 16
"""Number of tokens of the check."""

PASSES = (11, 4, 1)
"""Sizes of the passes with a state: a prompt, a draft, a token. They also show the timer how costs grow with size."""

KEPT = 3
"""Number of rows of a pass whose logits are compared."""

BACK_TO = 12
"""The length to which the check goes back before it feeds the rest again."""

SAME = 0.99
"""Minimum cosine similarity between logits that are the same apart from rounding."""

SAME_IN_FLOAT32 = 0.999
"""The same for weights in float32 that are not quantized. Some recurrent layers compute one token otherwise."""

EQUAL_IN_FLOAT32 = 0.9999
"""The same where both passes compute the same: the start of a text, whatever comes after it."""

PREFILL_LAYERS = {"reference_sliding_attention"}
"""Kinds of layers that treat what the first pass fed otherwise than the rest. Without a cache it is always all."""

STATE_NAMES = ("past_key_values", "cache_params", "state")
"""The arguments of `forward` that take a state."""

Run = Callable[[list[int], State, int], torch.Tensor]
"""(tokens, state, keep) -> the logits after each of the last `keep` tokens."""


def find_state(name: str, model: PreTrainedModel, run: Run) -> Callable[[], State]:
    """Return a function that returns an empty state of the best kind for this model.

    Args:
        name: The model's name, for messages.
        model: The model.
        run: Runs a forward pass of it.

    Raises:
        UnsupportedModelError: The model is no left-to-right decoder, or needs more than text.
    """
    try:
        run([0], NoState(), 1)  # also builds kernels, which must not count as the cost of a later pass
    except Exception as error:
        raise UnsupportedModelError(
            f"{name} cannot be used for nudging: it does not continue a text alone ({type(error).__name__}: {error}). "
            "Choose a model for text generation"
        ) from error
    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    tokens = [(7919 * index + 13) % vocabulary for index in range(LENGTH)]
    expected = run(tokens, NoState(), LENGTH)
    is_quantized = getattr(model, "hf_quantizer", None) is not None  # some round what layers compute, too
    is_exact = expected.dtype == torch.float32 and not is_quantized
    reasons = []
    for kind, new_state in _kinds(model):
        if (reason := _disagreement(new_state, run, tokens, expected, is_exact)) is None:
            return new_state
        reasons.append(f"{kind} {reason}")
    start = run(tokens[:BACK_TO], NoState(), BACK_TO)
    is_encoder = getattr(model.config, "is_decoder", None) is False
    if is_encoder or not similar(start, expected[:BACK_TO], EQUAL_IN_FLOAT32 if is_exact else SAME):
        raise UnsupportedModelError(
            f"{name} cannot be used for nudging: it is no left-to-right decoder. Later tokens change what it predicts "
            "after earlier ones. Choose a model for text generation"
        )
    log.warning(
        "%s runs without a cache, so every token takes a pass over the whole text (%s). Answers stay right",
        name,
        "; ".join(reasons) or "transformers has none for it",
    )
    return NoState


def _kinds(model: PreTrainedModel) -> Iterator[tuple[str, Callable[[], State]]]:
    """Yield the kinds of states that the model may take, by their names in messages, the fastest one first."""
    if PREFILL_LAYERS & set(getattr(model.config.get_text_config(decoder=True), "layer_types", None) or ()):
        return
    for name in [name for name in STATE_NAMES if name in signature(model.forward).parameters]:
        yield "a cache of layers", partial(LayeredState, model.config, name)
        yield "a cache of layers with positions", partial(LayeredState, model.config, name, has_positions=True)
        yield f"its own {name}", partial(OpaqueState, name)
        yield "a cache of layers, token by token,", partial(LayeredState, model.config, name, one_by_one=True)


def _disagreement(
    new_state: Callable[[], State], run: Run, tokens: list[int], expected: torch.Tensor, is_exact: bool
) -> str | None:
    """Return None if passes of several sizes, and going back, give the expected logits. If not, say what happened."""
    same, equal = (SAME_IN_FLOAT32, EQUAL_IN_FLOAT32) if is_exact else (SAME, SAME)
    try:
        state, saved = new_state(), None
        for size in PASSES:
            end, keep = state.length + size, min(size, KEPT)
            minimum = same if state.length else equal
            if not similar(run(tokens[state.length : end], state, keep), expected[end - keep : end], minimum):
                return "gives other logits than no cache"
            saved = saved or state.save()
        back = BACK_TO if state.can_crop else PASSES[0]
        if not similar(run(tokens[back:], state.at(back, saved), LENGTH - back), expected[back:], same):
            return "gives other logits after going back"
    except Exception as error:  # a kind of state that the model does not take
        return f"fails ({type(error).__name__}: {error})"
    return None


def similar(one: torch.Tensor, other: torch.Tensor, minimum: float = SAME) -> bool:
    """Return True if the cosine similarity of every row of two passes' logits is above the minimum."""
    one, other = ((logits - logits.mean(dim=-1, keepdim=True)).float() for logits in (one, other))
    return bool((torch.cosine_similarity(one, other, dim=-1) > minimum).all())
