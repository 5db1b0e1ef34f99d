"""Logits become choices: greedy, sampled, and under a mask. Both engines choose alike."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nudging.models.base import Sampling
from nudging.models.decoding.sampling import Choice, gumbel_noise, logprobs
from nudging.models.decoding.sampling import choose as choose_from_array
from nudging.models.local.sampling import choose as choose_from_tensor

LOGITS = torch.tensor([[0.0, math.log(2), math.log(5), math.log(2)]])
"""The logits of the probabilities 0.1, 0.2, 0.5, 0.2."""


def choose(
    logits: torch.Tensor, positions: Sequence[int], sampling: Sampling | None, masks: Any = None
) -> list[Choice]:
    """Return the choices from arrays, which are those from tensors too."""
    choices = choose_from_array(logits.numpy(), positions, sampling, masks)
    others = choose_from_tensor(logits, positions, sampling, masks)
    assert [one.token for one in choices] == [one.token for one in others]
    assert [one.probability for one in choices] == pytest.approx([one.probability for one in others], rel=1e-4)
    return choices


def share(token: int, temperature: float = 1.0, top_p: float = 1.0, draws: int = 4000) -> float:
    sampling = Sampling(temperature, top_p, "seed")
    choices = choose(LOGITS.expand(draws, -1), range(draws), sampling)
    return sum(choice.token == token for choice in choices) / draws


def test_greedy_takes_the_top_token_with_its_probability() -> None:
    (choice,) = choose(LOGITS, [0], None)
    assert choice.token == 2
    assert choice.probability == pytest.approx(0.5)


def test_the_probability_is_that_of_the_top_token_before_temperature() -> None:
    for choice in choose(LOGITS.expand(50, -1), range(50), Sampling(9.0, 1.0, "seed")):
        assert choice.probability == pytest.approx(0.5)


# 4000 draws: three standard deviations are below 0.024


def test_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    for token, probability in enumerate([0.1, 0.2, 0.5, 0.2]):
        assert share(token) == pytest.approx(probability, abs=0.024)


def test_a_high_temperature_flattens_the_distribution_and_a_low_one_sharpens_it() -> None:
    assert share(0, temperature=1000) == pytest.approx(0.25, abs=0.024)
    assert share(2, temperature=0.1) > 0.99


def test_top_p_leaves_out_the_tail() -> None:
    assert share(2, top_p=0.5) == 1
    assert share(0, top_p=0.85) == 0
    assert share(2, top_p=0.85) == pytest.approx(0.5 / 0.9, abs=0.024)


@pytest.mark.parametrize("spread", [0.1, 3.0, 10.0])
def test_top_p_leaves_out_the_tail_of_a_large_vocabulary(spread: float) -> None:
    logits = torch.randn(20, 3000, generator=torch.Generator().manual_seed(0)) * spread
    drawn = [choice.token for choice in choose(logits, range(20), Sampling(1.0, 0.8, "seed"))]
    for row, token in zip(logits, drawn, strict=True):
        probabilities = row.softmax(-1)
        assert probabilities[probabilities > probabilities[token]].sum() < 0.8
    noise = torch.stack([torch.from_numpy(gumbel_noise("seed", position, 3000)) for position in range(20)])
    ordered, order = logits.sort(dim=-1, descending=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
    kept = ordered.masked_fill(before >= 0.8, -torch.inf) + noise.gather(-1, order)
    assert drawn == order.gather(-1, kept.argmax(-1, keepdim=True)).flatten().tolist()


@given(st.text(), st.integers(0, 2**31))
def test_noise_depends_only_on_seed_and_position(seed: str, position: int) -> None:
    noise = gumbel_noise(seed, position, 50)
    assert (noise == gumbel_noise(seed, position, 50)).all()
    assert (noise != gumbel_noise(seed, position + 1, 50)).any()
    assert (noise != gumbel_noise(seed + "x", position, 50)).any()


def test_rounding_errors_in_a_large_vocabulary_change_almost_no_draw() -> None:
    logits = torch.randn(200, 50_000, generator=torch.Generator().manual_seed(0)) * 3
    rounded = logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)) * 1e-4
    for sampling in (Sampling(0.8, 1.0, "seed"), Sampling(0.8, 0.9, "seed")):
        drawn = [choice.token for choice in choose(logits, range(200), sampling)]
        again = [choice.token for choice in choose(rounded, range(200), sampling)]
        assert sum(one != other for one, other in zip(drawn, again, strict=True)) <= 1  # two tokens may be almost tied


@given(st.integers(1, 49))
def test_a_mask_that_allows_the_drawn_token_does_not_change_the_draw(width: int) -> None:
    logits, sampling = torch.zeros(20, 50), Sampling(1.0, 1.0, "seed")
    free = choose(logits, range(20), sampling)
    held = choose(logits, range(20), sampling, np.ones((20, width), dtype=np.bool_))
    assert all(one.token == other.token for one, other in zip(free, held, strict=True) if one.token < width)


@given(st.integers(0, 2**16), st.floats(0.01, 1), st.floats(0.05, 50))
def test_only_tokens_within_top_p_are_drawn(seed: int, top_p: float, temperature: float) -> None:
    logits = torch.randn(8, 50, generator=torch.Generator().manual_seed(seed)) * 5
    for row, choice in zip(logits, choose(logits, range(8), Sampling(temperature, top_p, str(seed))), strict=True):
        kept = (row / temperature).softmax(-1).sort(descending=True)
        before = kept.values.cumsum(-1) - kept.values
        allowed = kept.indices[before < top_p + 1e-5].tolist()
        assert choice.token in allowed


def test_log_probabilities_are_those_of_the_softmax() -> None:
    logits = torch.randn(6, 50, generator=torch.Generator().manual_seed(0)) * 5
    tokens = [0, 49, 7, 7, 3, 12]
    expected = logits.log_softmax(-1)[range(6), tokens].tolist()
    assert logprobs(logits.numpy(), tokens) == pytest.approx(expected, abs=1e-5)
