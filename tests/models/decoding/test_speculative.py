"""Speculative decoding: the choices that are accepted, and that no draft changes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nudging.models.base import Sampling
from nudging.models.decoding.drafts import Drafts
from nudging.models.decoding.sampling import Choice
from nudging.models.decoding.speculative import SpeculativeDecoder, accept
from nudging.models.decoding.timing import PassTimer
from nudging.models.local.model import LocalModel

CONTEXT = 1000


def chosen(*tokens: int | None) -> list[Choice | None]:
    """Return choices of these tokens. None stands for an unknown choice."""
    return [None if token is None else Choice(token, 0.5) for token in tokens]


@pytest.mark.parametrize(
    ("draft", "choices", "accepted"),
    [
        ([], chosen(7), [7]),  # no draft: one choice
        ([7, 8], chosen(7, 8, 9), [7, 8, 9]),  # all of the draft, and one choice more
        ([7, 8], chosen(7, 5, 9), [7, 5]),  # the draft is wrong at its second token: that choice replaces it
        ([7, 8], chosen(5, 8, 9), [5]),  # wrong at its first token
        ([7, 8], chosen(7, None, 9), [7]),  # an unknown choice ends the accepted ones
        ([7, 8], chosen(None, 8, 9), []),
        ([7, 8], chosen(7, 8), [7, 8]),  # the choice after the draft is not known
        ([7], chosen(7, 8, 9), [7, 8]),  # choices past the end of the draft do not count
        ([], [], []),
    ],
)
def test_accepted_choices(draft: list[int], choices: list[Choice | None], accepted: list[int]) -> None:
    assert [choice.token for choice in accept(draft, choices)] == accepted


TOKENS = st.integers(0, 3)


@given(draft=st.lists(TOKENS, max_size=6), choices=st.lists(st.none() | st.builds(Choice, TOKENS, st.floats(0, 1))))
def test_accepted_choices_follow_the_draft_up_to_the_first_that_differs(
    draft: list[int], choices: list[Choice | None]
) -> None:
    accepted = accept(draft, choices)
    assert accepted == choices[: len(accepted)]
    assert None not in accepted
    assert len(accepted) <= len(draft) + 1
    assert [choice.token for choice in accepted[:-1]] == draft[: max(len(accepted) - 1, 0)]
    follows_draft = [choice.token for choice in accepted] == draft[: len(accepted)]
    if follows_draft and len(accepted) <= len(draft):  # nothing differs, so the next choice is unknown
        assert choices[len(accepted) : len(accepted) + 1] in ([], [None])


@given(tokens=st.lists(TOKENS, min_size=1, max_size=8), data=st.data())
def test_any_draft_accepts_a_start_of_the_models_own_tokens(tokens: list[int], data: st.DataObject) -> None:
    right = data.draw(st.integers(0, len(tokens) - 1))
    draft = tokens[:right] + data.draw(st.lists(TOKENS, max_size=len(tokens) - 1 - right))
    # after a wrong draft token the model's choices belong to another text: they may be anything
    wrong = next((i for i, (one, other) in enumerate(zip(draft, tokens, strict=False)) if one != other), len(draft))
    choices = chosen(*tokens[: wrong + 1], *data.draw(st.lists(TOKENS, min_size=len(draft), max_size=len(draft))))
    accepted = [choice.token for choice in accept(draft, choices[: len(draft) + 1])]
    assert accepted == tokens[: wrong + 1]


class AnyDrafts(Drafts):
    """Drafts that hypothesis generates."""

    def __init__(self, drafts: list[list[int]]) -> None:
        super().__init__(PassTimer(), CONTEXT)
        self._generated = drafts

    def after(self, path: Sequence[int], new: int, limit: int) -> list[int]:
        return self._generated.pop()[:limit] if self._generated else []


@settings(max_examples=30, deadline=None)
@given(drafts=st.lists(st.lists(st.integers(0, 250), max_size=12), max_size=8), temperature=st.sampled_from([0.0, 0.8]))
def test_a_draft_never_changes_a_choice(tiny_base: Path, drafts: list[list[int]], temperature: float) -> None:
    model = LocalModel(tiny_base)
    prefix = model.tokenizer.encode("the sun", special_tokens=True)

    def tokens(drafts: Drafts | None) -> list[int]:
        sampling = Sampling(temperature, 0.9, "7") if temperature else None
        cache = model.engine.new_cache()

        def feed(new: list[int], keep: int, masks: Any) -> list[Choice]:
            end = len(cache.tokens) + len(new) + 1
            return cache.extend(new, keep, lambda logits: model.engine.choose(logits, range(end - keep, end), sampling))

        decoder = SpeculativeDecoder(cache, feed)
        return [choice.token for choice in decoder.choices(prefix, 12, drafts)]

    assert tokens(AnyDrafts(drafts)) == tokens(None)
