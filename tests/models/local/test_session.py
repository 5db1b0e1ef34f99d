"""A local model decoding one answer: its steps, and the work that its KV cache saves."""

from pathlib import Path

import pytest
from naive import NaiveModel
from nudging.models.base import Hint, Sampling
from nudging.models.local.model import LocalModel
from tiny import WINDOW, tiny_llama

LONG = "the sky is blue and the sun is far away, " * 4


def texts(model: LocalModel, prompt: str, text: str = "", limit: int = 12, hint: str = "") -> list[str]:
    session = model.session(prompt, author="base")
    found = [step.text for step in session.steps(text, limit, Hint(hint))]
    session.close()
    return found


def test_a_sliding_window_model_is_right_beyond_its_window(tiny_base: Path) -> None:
    model, naive = LocalModel(tiny_base), NaiveModel(str(tiny_base), bos=True)
    assert len(model.tokenizer.encode(LONG, special_tokens=True)) > 2 * WINDOW
    assert texts(model, LONG) == [text for text, _, _ in naive.complete(LONG, 12)]
    # the same after a return to a point outside of the window
    middle = LONG[: len(LONG) // 2]
    assert texts(model, middle) == [text for text, _, _ in naive.complete(middle, 12)]


def test_the_same_steps_again_cost_no_forward_pass(tiny_base: Path) -> None:
    session = LocalModel(tiny_base).session(LONG, author="base")
    first = list(session.steps("", 8))
    before = session.usage()
    assert list(session.steps("", 8)) == first
    assert session.usage() == before


def test_only_new_tokens_of_a_longer_text_are_fed(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)
    session = model.session(LONG, author="base")
    next(session.steps("", 1))
    before = session.usage()
    next(session.steps(" so we go", 1))
    new = len(model.tokenizer.encode(LONG + " so we go", special_tokens=True)) - before.prompt_tokens
    assert session.usage().tokens_fed - before.tokens_fed <= new + 1


def test_a_second_session_reuses_the_prefix_of_the_first(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)
    texts(model, LONG + "one")
    session = model.session(LONG + "two", author="base")
    next(session.steps("", 1))
    assert session.usage().tokens_fed < 10


def test_a_hint_never_changes_a_step_and_never_adds_forward_passes(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)
    expected = texts(model, "the sun", limit=8)
    plain = LocalModel(tiny_base).session("the sun", author="base")
    list(plain.steps("", 8))
    for hint in ["".join(expected), expected[0] + " nonsense", "🌍🌍", "e sun"]:
        session = LocalModel(tiny_base).session("the sun", author="base")
        assert [step.text for step in session.steps("", 8, Hint(hint))] == expected
        assert session.usage().forward_passes <= plain.usage().forward_passes


def test_closing_steps_early_leaves_the_session_usable(tiny_base: Path) -> None:
    session = LocalModel(tiny_base).session("the sun", author="base")
    whole = list(session.steps("", 8))
    again = session.steps("", 8)
    next(again)
    again.close()
    assert list(session.steps("", 8)) == whole


def test_a_failing_forward_pass_leaves_the_model_usable(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LocalModel(tiny_base)
    expected = texts(model, "the sun")
    session = model.session("the moon", author="base")
    with monkeypatch.context() as patch:
        patch.setattr(model.weights.load().lm_head, "forward", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            next(session.steps("", 1))
        session.close()
    assert texts(model, "the sun") == expected
    assert texts(model, "the moon") == texts(LocalModel(tiny_base), "the moon")


def test_steps_end_where_the_context_is_full(tmp_path: Path) -> None:
    model = LocalModel(tiny_llama(tmp_path, context=32))
    prompt = "the sky is"
    room = 32 - len(model.tokenizer.encode(prompt, special_tokens=True))
    for limit in (room - 1, room, room + 1, 200):
        assert len(texts(model, prompt, limit=limit, hint=" blue" * 40)) <= room


def test_a_draw_depends_only_on_seed_and_position(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)

    def drawn(seed: str, hint: str = "") -> list[str]:
        session = model.session("the sun", author="base", sampling=Sampling(1.0, 0.9, seed))
        found = [step.text for step in session.steps("", 12, Hint(hint))]
        session.close()
        return found

    assert drawn("7") == drawn("7") == drawn("7", hint="".join(drawn("7"))) == drawn("7", hint=" away")
    assert len({tuple(drawn(str(seed))) for seed in range(8)}) > 4
