"""KV caches: exclusive use, forks, and the number of idle ones."""

from pathlib import Path
from typing import Any

import pytest
from nudging.models.decoding.kv_cache import CachePool, KVCache, common_prefix_length
from nudging.models.decoding.sampling import Choice
from nudging.models.local.kv_cache import TransformersCache
from nudging.models.local.model import LocalModel
from nudging.models.local.state import NoState

LONG = "the sky is blue and the sun is far away, " * 4


def first_choice(model: LocalModel, cache: KVCache, tokens: list[int]) -> int:
    """Return the choice after these tokens, with as much of the cache as fits."""
    cache.crop(min(common_prefix_length(cache.tokens, tokens), len(tokens) - 1))
    new = tokens[len(cache.tokens) :]
    return cache.extend(new, 1, lambda logits: model.engine.choose(logits, [len(tokens)], None))[0].token


def test_sessions_never_share_a_cache_in_use(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)
    one, other = (model.session(LONG, author="base") for _ in range(2))
    first, second = one.steps("", 8), other.steps("", 8)
    mixed = [step for pair in zip(first, second, strict=True) for step in pair]
    assert mixed[::2] == mixed[1::2]


def test_only_a_few_idle_caches_are_kept(tiny_base: Path) -> None:
    model = LocalModel(tiny_base, kept_caches=2)
    for prompt in ["one", "two", "three", "the sun"]:
        session = model.session(prompt, author="base")
        assert list(session.steps("", 2))
        session.close()
    assert len(model.caches._idle) == 2


def test_a_fork_does_not_share_its_layers(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)
    tokens = model.tokenizer.encode(LONG, special_tokens=True)
    cache = model.engine.new_cache()
    first_choice(model, cache, tokens)
    fork = cache.fork(10)
    expected = first_choice(model, model.engine.new_cache(), tokens[:12])
    assert first_choice(model, fork, tokens[:12]) == expected
    assert cache.tokens == tokens


def test_a_cache_extends_crops_and_remembers_choices(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)
    cache = model.engine.new_cache()
    cache.choose_by("greedy")
    assert cache.extend([5, 6, 7], 2, len) == 2
    assert (cache.tokens, cache.choices) == ([5, 6, 7], [None] * 3)
    cache.choices = [Choice(6, 0.5), Choice(7, 0.5), Choice(8, 0.5)]
    cache.crop(2)
    assert (cache.tokens, cache.choices) == ([5, 6], [Choice(6, 0.5), Choice(7, 0.5)])
    cache.choose_by("greedy")
    assert cache.choices[0] == Choice(6, 0.5)
    cache.choose_by("sampled")
    assert cache.choices == [None, None]


def test_a_failed_forward_pass_empties_the_cache() -> None:
    def fail(*_: object) -> Any:
        raise RuntimeError("out of memory")

    cache = TransformersCache(fail, NoState)
    cache.tokens, cache.choices = [5], [Choice(6, 0.5)]
    with pytest.raises(RuntimeError, match="out of memory"):
        cache.extend([7], 1, len)
    assert cache.tokens == cache.choices == []


def empty() -> TransformersCache:
    return TransformersCache(lambda *_: 1 / 0, NoState)  # type: ignore[arg-type, return-value]


def held(*tokens: int) -> TransformersCache:
    cache = empty()
    cache.tokens = list(tokens)
    return cache


def test_a_pool_returns_the_cache_with_the_longest_shared_prefix() -> None:
    pool = CachePool(empty, 2)
    shorter, longer = held(1, 2, 3), held(1, 2, 3, 4)
    pool.release(shorter)
    pool.release(longer)
    assert pool.acquire([1, 2, 3, 4, 5]) is longer
    assert pool.acquire([1, 2, 3, 9]) is shorter
    assert pool.acquire([1, 2, 3]).tokens == []


def test_a_pool_with_room_copies_the_shared_prefix_rather_than_lose_the_rest() -> None:
    pool = CachePool(empty, 2)
    cache = held(1, 2, 3)
    pool.release(cache)
    assert pool.acquire([1, 2, 9]).tokens == [1, 2]
    assert pool._idle == [cache]
    pool.release(held(7))
    assert pool.acquire([1, 2, 9]) is cache  # the pool is full


def test_a_full_pool_drops_the_least_recently_used_cache() -> None:
    pool = CachePool(empty, 2)
    for token in (1, 2, 3):
        pool.release(held(token))
    assert [cache.tokens for cache in pool._idle] == [[2], [3]]
    none = CachePool(empty, 0)
    none.release(held(1))
    assert none._idle == []


@pytest.mark.parametrize(
    ("one", "other", "length"), [([], [1], 0), ([1, 2], [1, 2, 3], 2), ([1, 2, 3], [1, 9, 3], 1), ([4], [5], 0)]
)
def test_the_length_of_a_common_prefix(one: list[int], other: list[int], length: int) -> None:
    assert common_prefix_length(one, other) == common_prefix_length(other, one) == length
