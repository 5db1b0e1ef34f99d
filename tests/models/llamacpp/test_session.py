"""A GGUF file decoding one answer: hints change nothing, and only new tokens are fed."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nudging.models.base import Hint, Sampling
from nudging.models.llamacpp.model import LlamaCppModel

LONG = "the sky is blue and the sun is far away, " * 4
DRAWN = Sampling(1.0, 0.9, "7")
WORDS = [" the", " a", " far", " blue", " we", " go", "\ufffd", "🌍", "\n", " ", "e sun", "<end>", "\ud800"]


def texts(
    model: LlamaCppModel,
    prompt: str,
    text: str = "",
    limit: int = 12,
    hint: Hint | None = None,
    sampling: Sampling | None = None,
) -> list[str]:
    session = model.session(prompt, author="base", sampling=sampling)
    found = [step.text for step in session.steps(text, limit, hint)]
    session.close()
    return found


@pytest.fixture(scope="module")
def models(files: dict[str, Path]) -> dict[str, LlamaCppModel]:
    return {kind: LlamaCppModel(path, kept_caches=0) for kind, path in files.items()}


@pytest.mark.parametrize("kind", ["llama", "mamba", "jamba"])
@pytest.mark.parametrize("sampling", [None, DRAWN], ids=["greedy", "seeded"])
def test_no_hint_changes_a_step(models: dict[str, LlamaCppModel], kind: str, sampling: Sampling | None) -> None:
    model = models[kind]
    expected = texts(model, "the sun", sampling=sampling)

    @given(st.lists(st.sampled_from(WORDS) | st.sampled_from(expected) | st.text(max_size=4), max_size=12), st.data())
    @settings(max_examples=25)
    def check(words: list[str], data: st.DataObject) -> None:
        start = data.draw(st.integers(0, len(expected)))
        hint = "".join(expected[:start] + words)
        propose = data.draw(st.sampled_from([None, lambda text, count: "".join(words)[:count]]))
        assert texts(model, "the sun", hint=Hint(hint, propose), sampling=sampling) == expected

    check()


def test_going_back_and_forth_gives_the_steps_of_a_new_model(path: Path) -> None:
    session = LlamaCppModel(path).session(LONG, author="base")
    for text in ["", " so we go", " so", " so we go there", "", " the sun is far", " so we", LONG, " so we go"]:
        assert [step.text for step in session.steps(text, 6)] == texts(LlamaCppModel(path), LONG, text, 6)


def test_going_back_after_hints_gives_the_steps_of_a_new_model(path: Path) -> None:
    session = LlamaCppModel(path).session(LONG, author="base")
    for text, hint in [("", " so we go"), (" so", " the the"), ("", " blue"), (" so we go", ""), (" so", " we")]:
        assert [step.text for step in session.steps(text, 6, Hint(hint))] == texts(LlamaCppModel(path), LONG, text, 6)


def test_the_same_steps_again_cost_no_forward_pass(path: Path) -> None:
    session = LlamaCppModel(path).session(LONG, author="base")
    first = list(session.steps("", 8))
    before = session.usage()
    assert list(session.steps("", 8)) == first
    assert session.usage() == before


@pytest.mark.parametrize("kind", ["llama", "mamba", "jamba"])
def test_only_new_tokens_of_a_longer_text_are_fed(files: dict[str, Path], kind: str) -> None:
    model = LlamaCppModel(files[kind])
    session = model.session(LONG, author="base")
    next(session.steps("", 1))
    for text, back in [(" so we go", ""), (" and there", "")]:  # the second time from an earlier point
        before = session.usage().tokens_fed
        next(session.steps(text, 1))
        new = len(model.tokenizer.encode(LONG + back + text, special_tokens=True)) - session.usage().prompt_tokens
        assert session.usage().tokens_fed - before <= new + 1


@pytest.mark.parametrize("kind", ["llama", "mamba", "jamba"])
def test_a_second_session_reuses_the_prefix_of_the_first(files: dict[str, Path], kind: str) -> None:
    model = LlamaCppModel(files[kind])
    texts(model, LONG)
    session = model.session(LONG + "two", author="base")
    steps = [step.text for step in session.steps("", 6)]
    assert session.usage().tokens_fed < 20
    assert steps == texts(LlamaCppModel(files[kind]), LONG + "two", limit=6)


def test_closing_steps_early_leaves_the_session_usable(path: Path) -> None:
    session = LlamaCppModel(path).session("the sun", author="base")
    whole = list(session.steps("", 8))
    again = session.steps("", 8, Hint(" the"))
    next(again)
    again.close()
    assert list(session.steps("", 8)) == whole


def test_a_draw_depends_only_on_seed_and_position(path: Path) -> None:
    model = LlamaCppModel(path)

    def drawn(seed: str, hint: str = "") -> list[str]:
        return texts(model, "the sun", sampling=Sampling(1.0, 0.9, seed), hint=Hint(hint))

    assert drawn("7") == drawn("7") == drawn("7", hint="".join(drawn("7"))) == drawn("7", hint=" away")
    assert len({tuple(drawn(str(seed))) for seed in range(8)}) > 4
