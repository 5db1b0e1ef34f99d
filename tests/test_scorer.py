"""The log-probabilities of an answer while it is written."""

from collections.abc import Sequence
from math import exp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nudging import Nudger, PromptError, TokenLogprob
from tiny import tiny_gemma, tiny_llama

QUESTION = "why is the sky blue?"
TEXTS = [" the", " sky", " is", "ky", "!", "\n\n", "é", "🌍", " ", "far away"]
PIECES = st.lists(st.sampled_from(TEXTS), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def nudger(tmp_path_factory: pytest.TempPathFactory) -> Nudger:
    folder = tmp_path_factory.mktemp("tiny")
    return Nudger(tiny_gemma(folder / "gemma"), tiny_llama(folder / "llama"), threshold=0.3, max_tokens=20)


def score(nudger: Nudger, pieces: Sequence[str], alternatives: int = 0) -> list[list[TokenLogprob]]:
    scorer = nudger.scorer(QUESTION, alternatives)
    try:
        return [scorer.score(piece) for piece in pieces]
    finally:
        scorer.close()


@settings(max_examples=40, deadline=None)
@given(pieces=PIECES)
def test_the_tokens_of_every_piece_are_its_text(nudger: Nudger, pieces: list[str]) -> None:
    for piece, tokens in zip(pieces, score(nudger, pieces), strict=True):
        assert "".join(one.token for one in tokens) == piece


def test_pieces_that_end_where_tokens_end_are_scored_as_the_whole(nudger: Nudger) -> None:
    answer = nudger.generate(QUESTION, logprobs=True)
    words = [one.token for one in answer.logprobs or ()]
    found = [one.logprob for tokens in score(nudger, words) for one in tokens]
    if len(found) == len(words):
        assert found == pytest.approx([one.logprob for one in answer.logprobs or ()], abs=1e-4)
    (whole,) = score(nudger, [answer.text])
    assert [one.logprob for one in whole] == pytest.approx([one.logprob for one in answer.logprobs or ()], abs=1e-4)


def test_alternatives_are_the_most_probable_tokens(nudger: Nudger) -> None:
    for one in score(nudger, [" the sky is far"], 5)[0]:
        probabilities = [exp(other.logprob) for other in one.alternatives]
        assert len(probabilities) == 5
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) <= 1 + 1e-5
        better = [other for other in one.alternatives if other.logprob > one.logprob + 1e-5]
        assert one.logprob == pytest.approx(one.alternatives[0].logprob, abs=1e-4) or better


def test_scoring_does_not_change_the_answer(nudger: Nudger) -> None:
    expected = nudger.generate(QUESTION)
    scorer = nudger.scorer(QUESTION)
    with nudger.stream(QUESTION) as stream:
        for piece in stream:
            scorer.score(piece.text)
        assert stream.answer.pieces == expected.pieces
    scorer.close()


def test_an_empty_prompt_is_refused(nudger: Nudger) -> None:
    with pytest.raises(PromptError):
        nudger.scorer("")
