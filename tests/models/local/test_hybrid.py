"""Answers of models with recurrent layers: those of the naive rules, whatever hints, caches and other threads do.

Their state goes back to snapshots only. The pairs are small random models of different families.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from families.small_models import small_folder
from naive import NaiveModel, NaivePair, naive_answer, naive_by_tokens
from nudging import Nudger
from nudging.answer import Answer
from nudging.models.base import Hint
from nudging.models.local.kv_cache import CHUNK, EVERY, SNAPSHOTS
from nudging.models.local.model import LocalModel
from nudging.models.local.state import LayeredState, OpaqueState, size_of

PAIRS = {
    ("qwen3_5_text", "falcon_h1"): (LayeredState, LayeredState),  # recurrent beside attention, and both in one layer
    ("jamba", "mamba2"): (LayeredState, LayeredState),  # one token at a time, and no attention at all
    ("minimax", "rwkv"): (OpaqueState, OpaqueState),  # cache objects of their own
}
"""Base and nudging model, and their states."""

THRESHOLD = 0.35
"""With it both models write, and a naive answer takes less than a second."""

QUESTIONS = ["why is the sky blue", "你好 🌍, où est le soleil?", "say " * 12]
LONG = "the sky is blue and the sun is far away, so we go there. " * 17
"""More tokens than there are between two snapshots of a prompt, and fewer than the models' contexts have."""

SHORT = "the sky is blue and the sun is far away, so we go there. " * 8
"""Fewer tokens than that."""


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("hybrid")
    return [small_folder(family, folder / str(seed), seed=seed) for seed, family in enumerate(request.param)]


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of one pair, for what does not depend on the family."""
    folder = tmp_path_factory.mktemp("hybrid")
    return [small_folder(family, folder / family) for family in ("qwen3_5_text", "falcon_h1")]


@pytest.fixture(scope="module")
def naive(folders: list[Path]) -> tuple[NaiveModel, NaiveModel]:
    return NaiveModel(str(folders[0]), bos=True), NaiveModel(str(folders[1]), bos=False)


def new_nudger(folders: list[Path], **options: Any) -> Nudger:
    """Return a Nudger whose models share nothing with those of other tests."""
    return Nudger(*map(LocalModel, folders), **{"max_tokens": 16, "end": 0, "threshold": THRESHOLD, **options})


def check(answer: Answer, text: str, finish_reason: str) -> None:
    """Compare an answer with a naive one, which may be longer where the answer was cut off."""
    if answer.finish_reason == "length":
        assert text.startswith(answer.text)
    else:
        assert (answer.text, answer.finish_reason) == (text, finish_reason)


def test_the_pairs_have_the_states_that_the_tests_are_about(
    folders: list[Path], request: pytest.FixtureRequest
) -> None:
    states = tuple(type(LocalModel(folder).weights.new_state()) for folder in folders)
    assert states == PAIRS[request.node.callspec.params["folders"]]


def test_the_rule_words_gives_the_answers_of_its_naive_form(
    folders: list[Path], naive: tuple[NaiveModel, NaiveModel]
) -> None:
    hinted, plain = (new_nudger(folders, hints=hints) for hints in (True, False))
    ratios = []
    for question in QUESTIONS:
        answer, prompts = hinted.generate(question), hinted.prompts(question)
        assert plain.generate(question).pieces == answer.pieces
        expected = naive_answer(*naive, prompts.base, prompts.nudging, threshold=THRESHOLD, until=len(answer.text))
        check(answer, expected.text, expected.finish_reason)
        ratios.append(answer.nudge_ratio)
    assert min(ratios) < 1  # the base model wrote something


def test_the_rule_bet_gives_the_answers_of_its_naive_form(
    folders: list[Path], naive: tuple[NaiveModel, NaiveModel]
) -> None:
    hinted, plain = (new_nudger(folders, hints=hints, rule="bet", bet=0.1, max_tokens=12) for hints in (True, False))
    ratios = []
    for question in QUESTIONS:
        answer, prompts = hinted.generate(question), hinted.prompts(question)
        assert plain.generate(question).pieces == answer.pieces
        pair = NaivePair(*naive, prompts.base, prompts.nudging)
        expected = naive_by_tokens(pair, "bet", 0.1, end=0, until=len(answer.text))
        check(answer, expected.text, expected.finish_reason)
        ratios.append(answer.nudge_ratio)
    assert 0 < sum(ratios) < len(ratios)  # both models wrote something


def test_drawn_answers_are_the_same_with_and_without_hints(folders: list[Path]) -> None:
    hinted, plain = (new_nudger(folders, hints=hints) for hints in (True, False))
    drawn = {(question, seed) for question in QUESTIONS[:2] for seed in (1, 2)}
    for question, seed in sorted(drawn):
        options: Any = {"temperature": 1.0, "top_p": 0.9, "seed": seed}
        assert hinted.generate(question, **options).pieces == plain.generate(question, **options).pieces
    assert plain.generate(QUESTIONS[0], temperature=1.0, seed=1) != plain.generate(
        QUESTIONS[0], temperature=1.0, seed=2
    )


def test_an_answer_validates_against_a_schema(folders: list[Path]) -> None:
    schema = {
        "type": "object",
        "properties": {"is_blue": {"type": "boolean"}, "why": {"enum": ["sun", "sky and sun", "skies"]}},
        "required": ["is_blue", "why"],
        "additionalProperties": False,
    }
    hinted, plain = (new_nudger(folders, hints=hints, max_tokens=48) for hints in (True, False))
    for question in QUESTIONS:
        answer = hinted.generate(question, schema=schema)
        found = json.loads(answer.text)
        assert found["is_blue"] in (True, False)
        assert found["why"] in ("sun", "sky and sun", "skies")
        assert plain.generate(question, schema=schema).text == answer.text


def test_twenty_alternating_questions_on_one_pair_equal_fresh_ones(folders: list[Path]) -> None:
    nudger = new_nudger(folders, max_tokens=8)
    asked = [*QUESTIONS[:2], LONG]
    fresh = [new_nudger(folders, max_tokens=8).generate(question).pieces for question in asked]
    for number in range(20):
        assert nudger.generate(asked[number % 3]).pieces == fresh[number % 3]


def test_two_threads_on_one_pair_get_the_answers_of_one(folders: list[Path]) -> None:
    asked = [f"{question} {number}" for number in range(2) for question in QUESTIONS[:2]]
    alone = new_nudger(folders, max_tokens=12)
    expected = [alone.generate(question).pieces for question in asked]
    nudger = new_nudger(folders, max_tokens=12)
    with ThreadPoolExecutor(2) as threads:
        assert [answer.pieces for answer in threads.map(nudger.generate, asked)] == expected


@pytest.mark.parametrize("family", ["qwen3_5_text", "mamba2", "minimax", "rwkv"])
@pytest.mark.parametrize("start", [LONG, SHORT], ids=["long", "short"])
def test_a_second_prompt_with_the_same_start_feeds_only_the_rest(family: str, start: str, tmp_path: Path) -> None:
    model = LocalModel(small_folder(family, tmp_path))
    fed: dict[str, int] = {}
    texts: dict[str, str] = {}
    for end in ("why is it blue", "how far do we go", "why is it blue"):
        session = model.session(start + end, author="base")
        text = "".join(step.text for step in session.steps("", 4))
        assert texts.setdefault(end, text) == text
        usage = session.usage()
        assert (usage.prompt_tokens > CHUNK + 20) == (start == LONG)
        assert usage.prompt_tokens > 100
        fed[end] = usage.tokens_fed  # of the last time
        session.close()
    assert fed["how far do we go"] <= 36
    assert fed["why is it blue"] <= 12  # it is near the end of the first prompt


def test_a_model_that_takes_tokens_one_by_one_takes_a_prompt_in_few_passes(tmp_path: Path) -> None:
    model = LocalModel(small_folder("jamba", tmp_path))
    assert model.weights.new_state().one_by_one
    sizes: list[int] = []
    model.weights.load().register_forward_pre_hook(
        lambda _, __, arguments: sizes.append(arguments["input_ids"].shape[1]), with_kwargs=True
    )
    session = model.session(LONG, author="base")
    assert list(session.steps("", 1))
    session.close()
    assert sizes == [session.usage().prompt_tokens - EVERY, *[1] * EVERY]


def test_recurrent_models_feed_hardly_more_tokens_than_attention_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [small_folder(family, tmp_path / family) for family in ("llama", "gemma3_text")]
    asked = [f"the sun is far away {word} why is the sky blue and we go there {word}" for word in "abcd"]

    def fed(**options: Any) -> tuple[list[str], dict[tuple[str, str], float]]:
        answers = [new_nudger(folders, max_tokens=32, **options).generate(question) for question in asked]
        written = sum(answer.usage.completion_tokens for answer in answers)
        totals = {
            (side, count): sum(getattr(getattr(answer.usage, side), count) for answer in answers) / written
            for side in ("base", "nudging")
            for count in ("tokens_fed", "forward_passes")
        }
        return [answer.text for answer in answers], totals

    for options in ({}, {"rule": "bet", "bet": 0.1}):
        texts, with_attention = fed(**options)
        with monkeypatch.context() as patch:  # the same models, as if their states could not be sliced
            patch.setattr("nudging.models.local.weights.find_state", lambda *_: partial(OpaqueState, "past_key_values"))
            assert isinstance(LocalModel(folders[0]).weights.new_state(), OpaqueState)
            same_texts, with_snapshots = fed(**options)
        assert same_texts == texts
        for what, number in with_attention.items():
            assert with_snapshots[what] <= 1.5 * number, what


@pytest.mark.parametrize("family", ["qwen3_5_text", "minimax"])
def test_the_memory_of_snapshots_is_flat(family: str, tmp_path: Path) -> None:
    model = LocalModel(small_folder(family, tmp_path))
    sizes = []
    for number in range(200):
        session = model.session(f"{number} why is the sky blue", author="base")
        assert list(session.steps("", 2, Hint(" the sky is blue")))
        session.close()
        caches: Any = model.caches._idle
        assert all(len(cache._snapshots) <= SNAPSHOTS for cache in caches)
        sizes.append(sum(size_of(saved) for cache in caches for _, saved in cache._snapshots))
    assert 0 < max(sizes[150:]) <= 1.5 * max(sizes[:50])
