"""The verdict on a family: does it decode as a decoder without a cache does, and how does it go back?"""

import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from families.naive import NaiveTokens, naive_tokens
from families.small_models import small_folder
from nudging.errors import UnsupportedModelError
from nudging.models.decoding.kv_cache import KVCache
from nudging.models.decoding.speculative import SpeculativeDecoder
from nudging.models.local.model import LocalModel
from nudging.models.local.state import LayeredState, NoState, State

PROMPT = [(37 * index + 11) % 250 for index in range(40)]
OTHER = [*PROMPT[:20], 5, 6, 7, 8, 9]
"""A prompt with the same start."""

WRITTEN = 24
"""Number of tokens after a prompt."""

NEAR_TIE = 2e-3
"""Difference between the two largest logits below which rounding may decide."""

NOT_FOR_TEXT = {
    "blip": "needs a picture",
    "blip-2": "needs a picture",
    "evolla": "needs a protein",
    "fast_vlm": "needs the package timm",
    "gemma3n": "needs the package timm",
    "gemma4_assistant": "drafts for another model",
    "gemma4_unified_assistant": "drafts for another model",
    "idefics": "needs a picture",
    "instructblip": "needs a picture",
    "instructblipvideo": "needs a picture",
    "kosmos-2": "needs a picture",
    "kyutai_speech_to_text": "needs sound",
    "musicgen": "needs sound",
    "musicgen_melody": "needs sound",
    "perception_lm": "needs the package timm",
    "pi0": "needs a robot's state",
    "pix2struct": "needs a picture",
    "pp_formulanet": "needs a picture",
    "qwen2_5_omni": "is loaded as its part qwen2_5_omni_thinker",
    "qwen3_omni_moe": "is loaded as its part qwen3_omni_moe_thinker",
    "t5gemma2": "is an encoder-decoder",
    "udop": "is an encoder-decoder",
    "vision-encoder-decoder": "needs a picture",
    "voxtral_realtime": "needs sound",
}
"""Types in the tables of transformers that do not write text after text alone, or cannot be built here."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on one type of model.

    Args:
        outcome: "right", "refused" or "wrong".
        detail: How it goes back, or the reason.
        is_batched: True if concurrent answers share its forward passes.
    """

    outcome: str
    detail: str
    is_batched: bool = False


def verdict(model_type: str, folder: Path) -> Verdict:
    """Return the verdict on a type of model, by decoding with a small one.

    Args:
        model_type: The type of model in transformers.
        folder: An empty folder.
    """
    model = LocalModel(small_folder(model_type, folder))
    try:
        weights: Any = model.weights.load()
    except UnsupportedModelError as error:
        return Verdict("refused", _reason(error, model_type))
    state = model.weights.new_state()
    texts = {tuple(prompt): naive_tokens(weights, prompt, WRITTEN) for prompt in (PROMPT, OTHER)}
    wrong = [what for what, prompt, tokens in _decoded(model, texts) if not _agree(texts[tuple(prompt)], tokens)]
    if wrong:
        return Verdict("wrong", ", ".join(wrong))
    return Verdict("right", way_back(state), model.weights.can_batch)


def _reason(error: UnsupportedModelError, model_type: str) -> str:
    """Return why a model is refused, without the rest of the message: "is no left-to-right decoder"."""
    reason = str(error).partition(" for nudging: ")[2].partition(". ")[0]
    return reason.removeprefix("it ").removeprefix(f"{model_type} ")


def way_back(state: State) -> str:
    """Return how a state goes back, in a few words."""
    if isinstance(state, NoState):
        return "no cache"
    if state.can_crop:
        return "to any token"
    whole = "" if isinstance(state, LayeredState) else ", of the model's own state"
    return f"to snapshots{whole}" + (", token by token" if state.one_by_one else "")


def _decoded(model: LocalModel, texts: dict[tuple[int, ...], NaiveTokens]) -> Any:
    """Yield (a name, a prompt, the tokens after it): in one go, after going back, with drafts, in a copy."""
    cache = model.weights.new_cache()
    yield "one after the other", PROMPT, _written(model, cache, PROMPT)
    for back in (1, 5, 50):
        cache.crop(len(PROMPT) + WRITTEN - back)
        yield f"after going back by {back}", PROMPT, _written(model, cache, PROMPT)
    for time in range(2):
        yield f"another prompt ({time})", OTHER, _written(model, cache, OTHER)
        yield f"the first prompt again ({time})", PROMPT, _written(model, cache, PROMPT)
    yield "in a copy", PROMPT, _written(model, cache.fork(30), PROMPT)
    for are_good in (True, False):
        drafts = _Drafts(PROMPT, texts[tuple(PROMPT)].tokens, are_good)
        name = "with good drafts" if are_good else "with bad drafts"
        yield name, PROMPT, _written(model, model.weights.new_cache(), PROMPT, drafts)


def _written(model: LocalModel, cache: KVCache, prompt: Sequence[int], drafts: "_Drafts | None" = None) -> list[int]:
    def feed(tokens: list[int], keep: int, masks: Any) -> Any:
        return cache.extend(tokens, keep, lambda logits: model.weights.choose(logits, range(keep), None, masks))

    choices = SpeculativeDecoder(cache, feed).choices(prompt, WRITTEN, drafts)  # type: ignore[arg-type]
    with contextlib.closing(choices):
        return [choice.token for choice in choices]


def _agree(naive: NaiveTokens, tokens: list[int]) -> bool:
    """Return True if the tokens are the naive ones, up to a near tie."""
    differing = [gap for gap, one, other in zip(naive.gaps, naive.tokens, tokens, strict=True) if one != other]
    return not differing or differing[0] < NEAR_TIE


class _Drafts:
    """Drafts of different lengths: the true tokens, or true ones followed by wrong ones."""

    def __init__(self, prompt: Sequence[int], tokens: list[int], are_good: bool) -> None:
        self._start, self._tokens, self._are_good, self._random = len(prompt), tokens, are_good, random.Random(1)

    def remember(self, tokens: Sequence[int]) -> None:
        """Do nothing."""

    def after(self, path: Sequence[int], fed: int, limit: int) -> list[int]:
        """Return a draft after this path."""
        true = self._tokens[len(path) - self._start :][: min(limit, self._random.choice([0, 1, 3, 5]))]
        right = len(true) if self._are_good else self._random.randrange(len(true) + 1)
        return [token if place < right else (token + 1) % 250 for place, token in enumerate(true)]
