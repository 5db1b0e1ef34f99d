"""Sequences in llama.cpp's memory: extended, cropped and forked, they give the logits of an empty one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from naive_gguf import NaiveGGUF
from nudging.models.decoding.kv_cache import KVCache
from nudging.models.llamacpp.model import LlamaCppModel
from numpy.typing import NDArray

NEAR = 0.02
"""llama.cpp's KV caches are in half precision. Logits of another sequence are much farther away."""


def fed(cache: KVCache, tokens: list[int]) -> NDArray[np.float32]:
    """Return the logits after the cache's tokens and these."""
    logits: NDArray[np.float32] = cache.extend(tokens, 1, lambda rows: np.array(rows[-1]))
    return logits


def tokens_of(rng: np.random.Generator, count: int) -> list[int]:
    return [int(token) for token in rng.integers(5, 250, count)]


def test_random_walks_give_the_logits_of_an_empty_cache(path: Path) -> None:
    model, naive, rng = LlamaCppModel(path), NaiveGGUF(path, bos=False), np.random.default_rng(0)
    caches: list[Any] = [model.engine.new_cache()]
    for _ in range(60):
        cache = caches[rng.integers(len(caches))]
        if rng.random() < 0.3:
            cache.crop(int(rng.integers(0, len(cache.tokens) + 1)))
        if rng.random() < 0.3:
            length = int(rng.integers(0, len(cache.tokens) + 1))
            fork = cache.fork(length)
            assert fork.tokens == cache.tokens[: len(fork.tokens)]
            assert len(fork.tokens) <= length
            caches = [*caches[-3:], fork]
        new = tokens_of(rng, int(rng.choice([1, 1, 2, 7])))
        logits = fed(cache, new)
        np.testing.assert_allclose(logits, naive.logits(cache.tokens), atol=NEAR)


def test_a_fork_and_its_original_do_not_disturb_each_other(path: Path) -> None:
    model, naive, rng = LlamaCppModel(path), NaiveGGUF(path, bos=False), np.random.default_rng(1)
    cache = model.engine.new_cache()
    fed(cache, tokens_of(rng, 20))
    fork = cache.fork(20)
    assert fork.tokens == cache.tokens
    for one in (cache, fork, cache, fork):
        for count in (1, 3):
            logits = fed(one, tokens_of(rng, count))
            np.testing.assert_allclose(logits, naive.logits(one.tokens), atol=NEAR)


def test_a_model_that_cannot_be_cropped_goes_back_to_the_end_of_a_longer_pass(files: dict[str, Path]) -> None:
    rng = np.random.default_rng(2)
    cache: KVCache = LlamaCppModel(files["mamba"]).engine.new_cache()
    fed(cache, tokens_of(rng, 10))
    fed(cache, tokens_of(rng, 5))
    fed(cache, tokens_of(rng, 1))
    for length, kept in [(16, 16), (15, 15), (14, 10), (9, 0)]:
        cache.crop(length)
        assert len(cache.tokens) == kept


@pytest.mark.parametrize("kind", ["mamba", "jamba"])
def test_the_snapshots_of_a_long_answer_are_few(files: dict[str, Path], kind: str) -> None:
    cache: Any = LlamaCppModel(files[kind]).engine.new_cache()
    for _ in range(12):
        fed(cache, [5, 6, 7])
    assert len(cache._snapshots) == 4
