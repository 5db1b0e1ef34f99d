"""Forward passes of several sequences together: the same logits, whatever the others are."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch
from nudging.models.local.batching import BatchScheduler, ForwardPass
from nudging.models.local.model import LocalModel
from nudging.models.local.timing import PassTimer
from tiny import WINDOW
from transformers import AutoModelForCausalLM, DynamicCache

LENGTHS = [(0, 1), (0, 2 * WINDOW), (7, 1), (3 * WINDOW, 5), (2, 9)]
"""Tokens in the cache, and new ones."""


@pytest.fixture(params=["tiny_base", "tiny_nudging"])
def passes(request: pytest.FixtureRequest) -> BatchScheduler:
    """Of a model with sliding windows, and of one without."""
    folder = request.getfixturevalue(request.param)
    return BatchScheduler(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), PassTimer())


def wanted(passes: BatchScheduler, keep: int = 1) -> list[ForwardPass]:
    """Sequences of all lengths, each with its beginning in its cache."""
    torch.manual_seed(0)
    found = []
    for start, new in LENGTHS:
        tokens, cache = torch.randint(5, 200, (start + new,)).tolist(), DynamicCache()
        if start:
            passes.run(tokens[:start], cache, 1)
        found.append(ForwardPass(passes, tokens[start:], cache, min(keep, new)))
    return found


@pytest.mark.parametrize("keep", [1, 4])
def test_together_they_find_what_they_find_alone(passes: BatchScheduler, keep: int) -> None:
    alone, together = wanted(passes, keep), wanted(passes, keep)
    for one in alone:
        passes.run_batch([one])
    for _ in range(2):  # the first time is a trial, which falls back on passes alone
        together = wanted(passes, keep)
        passes.run_batch(together)
    assert passes.can_batch
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one.logits.result(), other.logits.result(), atol=1e-4, rtol=1e-4)
        assert one.logits.result().shape[0] == one.keep
        assert one.cache.get_seq_length() == other.cache.get_seq_length()


def test_they_share_one_pass_through_the_model(passes: BatchScheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    passes.run_batch(wanted(passes))
    several = wanted(passes)
    fed: list[int] = []
    monkeypatch.setattr(passes.timer, "record", lambda tokens, seconds, sequences: fed.append(tokens))
    passes.run_batch(several)
    assert fed == [sum(new for _, new in LENGTHS)]


def test_a_model_that_finds_something_else_in_company_goes_alone(
    passes: BatchScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = wanted(passes)
    for one in alone:
        passes.run_batch([one])
    noise = lambda _, several: [torch.randn_like(one.logits.result()) for one in alone[: len(several)]]  # noqa: E731
    monkeypatch.setattr("nudging.models.local.batching._batched_pass", noise)
    several = wanted(passes)
    passes.run_batch(several)
    assert not passes.can_batch
    for one, other in zip(alone, several, strict=True):
        torch.testing.assert_close(one.logits.result(), other.logits.result())


def test_a_pass_that_fails_in_company_is_made_again_alone(
    passes: BatchScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes.run_batch(wanted(passes))
    expected = [one.logits.result() for one in several] if (several := worked(passes)) else []
    layer: Any = passes.weights.model.layers[1].mlp
    forward = layer.forward

    def fail_on_many(hidden: torch.Tensor) -> Any:
        if hidden.shape[1] == sum(new for _, new in LENGTHS):
            raise RuntimeError("out of memory")
        return forward(hidden)

    again = wanted(passes)
    monkeypatch.setattr(layer, "forward", fail_on_many)
    passes.run_batch(again)
    assert passes.can_batch
    for one, logits in zip(again, expected, strict=True):
        torch.testing.assert_close(one.logits.result(), logits)


def worked(passes: BatchScheduler) -> list[ForwardPass]:
    several = wanted(passes)
    for one in several:
        passes.run_batch([one])
    return several


def test_a_failure_reaches_only_the_one_who_asked(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)
    model.load()
    start = Barrier(3)

    def ask(tokens: list[int]) -> object:
        start.wait()
        try:
            return model.weights.forward(tokens, DynamicCache(), 1).shape[0]
        except IndexError as error:
            return error

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(ask, [[5, 6], [10**6], [7]]))
    assert found[0] == found[2] == 1
    assert isinstance(found[1], IndexError)
