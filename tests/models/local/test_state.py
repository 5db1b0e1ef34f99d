"""The state of a sequence goes back and is copied, for every kind of layer, against passes without a state."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec, module_from_spec
from pathlib import Path

import pytest
import torch
from families.small_models import small_folder
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from nudging.models.local.kv_cache import SNAPSHOTS, TransformersCache
from nudging.models.local.model import LocalModel
from nudging.models.local.state import LayeredState, NoState, OpaqueState, Saved, State, size_of
from transformers import AutoConfig, DynamicCache, cache_utils

FAMILIES: dict[str, type[State]] = {
    "llama": LayeredState,  # attention
    "gemma3_text": LayeredState,  # attention with a sliding window
    "deepseek_v32": LayeredState,  # attention with an index
    "gemma4_text": LayeredState,  # layers that share keys and values
    "mamba2": LayeredState,  # recurrent
    "jamba": LayeredState,  # recurrent layers that take one token at a time, and attention
    "bamba": LayeredState,  # recurrent, and attention that is told the positions
    "qwen3_5_text": LayeredState,  # recurrent, and attention
    "falcon_h1": LayeredState,  # recurrent and attention in one layer
    "deepseek_v4": LayeredState,  # a layer that only its family has
    "minimax": OpaqueState,  # a cache class that only its family has
    "rwkv": OpaqueState,  # a list of tensors
    "openai-gpt": NoState,
}
"""The state of a family: one family for each kind of layer."""

START = [(37 * index + 11) % 250 for index in range(20)]
"""The start of every sequence: longer than a sliding window."""

Operation = tuple[str, int, int, list[int]]
"""(name, number of a branch, percentage of its length, new tokens that are fed to it then)."""

OPERATIONS: st.SearchStrategy[list[Operation]] = st.lists(
    st.tuples(
        st.sampled_from(["extend", "back", "fork"]),
        st.integers(0, 3),
        st.integers(50, 100),
        st.lists(st.integers(0, 249), min_size=1, max_size=4),
    ),
    min_size=6,
    max_size=8,
)

few = settings(max_examples=6, phases=[Phase.generate])  # looking for a shorter example that fails takes minutes


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LocalModel]:
    """Return a small model of a family, the same one every time."""

    @cache
    def loaded(family: str) -> LocalModel:
        model = LocalModel(small_folder(family, tmp_path_factory.mktemp(family)))
        model.load()
        assert type(model.weights.new_state()) is FAMILIES[family]  # the check at load replaces a wrong one
        return model

    return loaded


@dataclass
class Branch:
    """A state, its tokens, and what was saved along them.

    Args:
        model: The model.
        state: The state after the tokens.
        tokens: The tokens.
        saved: Copies for going back, by length.
    """

    model: LocalModel
    state: State
    tokens: list[int] = field(default_factory=list)
    saved: dict[int, Saved] = field(default_factory=dict)

    def extend(self, tokens: list[int]) -> None:
        """Save the state, feed tokens, and compare the logits with those of a pass without a state."""
        if self.state.length not in self.saved:  # a copy is used again and again
            self.saved[self.state.length] = self.state.save()
        logits = self.model.weights.forward(tokens, self.state, len(tokens))
        self.tokens = [*self.tokens, *tokens]
        assert self.state.length == len(self.tokens)
        assert_equal(logits, self.model, self.tokens)

    def back(self, length: int) -> None:
        """Go back to a length, or to the last saved copy before it."""
        earlier = self.fork(length)
        if self.state.can_crop:
            self.state.crop(length)
            earlier.state = self.state
        self.state, self.tokens, self.saved = earlier.state, earlier.tokens, earlier.saved

    def fork(self, length: int) -> "Branch":
        """Return a copy at a length, or at the last saved copy before it."""
        if not self.state.can_crop:
            length = max((at for at in self.saved if at <= length), default=0)
        saved = {at: copy for at, copy in self.saved.items() if at <= length}
        return Branch(self.model, self.state.at(length, saved.get(length)), self.tokens[:length], saved)


def assert_equal(logits: torch.Tensor, model: LocalModel, tokens: list[int]) -> None:
    """Compare the logits after the last tokens with those of a pass without a state."""
    expected = model.weights.forward(tokens, NoState(), len(logits))
    torch.testing.assert_close(logits, expected, rtol=0, atol=0.01)  # a wrong state changes logits by 1 and more


@pytest.mark.parametrize("family", FAMILIES)
@few
@given(operations=OPERATIONS)
def test_a_state_that_goes_back_or_is_copied_equals_a_new_one(
    load: Callable[[str], LocalModel], family: str, operations: list[Operation]
) -> None:
    model = load(family)
    branches = [Branch(model, model.weights.new_state())]
    branches[0].extend(START)
    for name, number, percentage, tokens in operations:
        branch = branches[number % len(branches)]
        length = branch.state.length * percentage // 100
        if name == "back":
            branch.back(length)
        elif name == "fork":
            branches.append(branch := branch.fork(length))
        branch.extend(tokens)
    for branch in branches:  # none was changed by what happened to the others
        branch.extend([5, 6])


@pytest.mark.parametrize("family", ["llama", "qwen3_5_text", "minimax"])
@few
@given(operations=OPERATIONS)
def test_a_cache_that_goes_back_or_is_copied_equals_a_new_one(
    load: Callable[[str], LocalModel], family: str, operations: list[Operation]
) -> None:
    model = load(family)
    caches = [model.weights.new_cache()]
    extend(model, caches[0], START, keep=1)
    for name, number, percentage, tokens in operations:
        cache = caches[number % len(caches)]
        held, length = list(cache.tokens), len(cache.tokens) * percentage // 100
        if name == "back":
            cache.crop(length)
        elif name == "fork":
            caches.append(cache := cache.fork(length))
        if name != "extend":
            assert len(cache.tokens) <= length
            assert cache.tokens == held[: len(cache.tokens)]
        extend(model, cache, tokens, keep=1 + percentage % len(tokens))
    for cache in caches:
        extend(model, cache, [5, 6], keep=2)


def extend(model: LocalModel, cache: TransformersCache, tokens: list[int], keep: int) -> None:
    """Feed tokens, and compare the logits after the last `keep` with those of a pass without a state."""

    def read(logits: torch.Tensor) -> None:
        assert len(logits) == keep
        assert_equal(logits, model, [*cache.tokens, *tokens])

    cache.extend(tokens, keep, read)


@pytest.mark.parametrize(("family", "percentage"), [("llama", 100), ("qwen3_5_text", 80), ("minimax", 80)])
def test_a_short_way_back_keeps_most_of_a_long_answer(
    load: Callable[[str], LocalModel], family: str, percentage: int
) -> None:
    cache = load(family).weights.new_cache()
    cache.extend(START, 1, lambda _: None)
    for token in range(120):
        cache.extend([token], 1, lambda _: None)
    assert len(cache._snapshots) <= SNAPSHOTS
    for back in (5, 20, 60):
        fork = cache.fork(140 - back)
        assert len(fork.tokens) >= (140 - back) * percentage // 100


def test_a_short_way_back_costs_few_tokens_after_a_rejected_draft(load: Callable[[str], LocalModel]) -> None:
    cache = load("qwen3_5_text").weights.new_cache()
    cache.extend(START, 1, lambda _: None)
    cache.extend([1, 2, 3, 4, 5], 5, lambda _: None)  # one token, and a draft of four
    cache.crop(len(START) + 1)
    assert len(cache.tokens) == len(START)


def test_the_size_of_a_copy_counts_the_tensors_in_objects_too() -> None:
    tensor = torch.zeros(3)
    assert size_of(tensor) == 12
    assert size_of([{"conv_states": [tensor, None], "is_initialized": True}, None]) == 12
    state = OpaqueState("past_key_values")
    state._object = DynamicCache()
    state._object.update(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4), 0)
    state._object.itself = state._object
    assert size_of(state.save()) == 2 * 24 * 4


def test_large_snapshots_of_an_object_are_few(
    load: Callable[[str], LocalModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nudging.models.local.kv_cache.SNAPSHOT_BYTES", 1)
    for family in ("qwen3_5_text", "minimax", "rwkv"):
        cache = load(family).weights.new_cache()
        cache.extend(START, 1, lambda _: None)
        for token in range(40):
            cache.extend([token], 1, lambda _: None)
        assert len(cache._snapshots) == 2


def test_a_state_of_length_0_is_empty(load: Callable[[str], LocalModel]) -> None:
    for family in ("llama", "mamba2", "minimax", "openai-gpt"):
        branch = Branch(load(family), load(family).weights.new_state())
        branch.extend(START)
        branch.back(0)
        assert branch.state.length == 0
        branch.extend([1, 2, 3])


def test_layers_that_an_earlier_transformers_does_not_have_are_not_needed(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in vars(cache_utils).copy():
        if name in ("DummyLayer", "DynamicIndexedLayer") or name.startswith("LinearAttention"):
            monkeypatch.delattr(cache_utils, name)
    spec = find_spec("nudging.models.local.state")
    assert spec is not None
    assert spec.loader is not None
    earlier = module_from_spec(spec)
    spec.loader.exec_module(earlier)
    assert earlier.LayeredState(AutoConfig.from_pretrained(tiny_base), "past_key_values").can_crop
