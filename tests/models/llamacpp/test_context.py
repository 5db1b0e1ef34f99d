"""llama.cpp's context: memory that grows, many sequences at once, errors, forked children, and its end."""

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from time import sleep

import numpy as np
import pytest
from forked import in_forked_child
from nudging import ModelError, Nudger
from nudging.models.base import Session
from nudging.models.llamacpp import context as context_module
from nudging.models.llamacpp.context import Context, ForwardPass
from nudging.models.llamacpp.library import llama
from nudging.models.llamacpp.model import LlamaCppModel

PROMPTS = [f"{word} is far away from the blue sky " * 12 for word in ("the sun", "so", "we", "a", "and", "there", "go")]


def answer(model: LlamaCppModel, prompt: str, limit: int = 8) -> list[str]:
    session = model.session(prompt, author="base")
    found = [step.text for step in session.steps("", limit)]
    session.close()
    return found


def together(model: LlamaCppModel, prompts: list[str]) -> list[list[str]]:
    """Return the answers of one thread per prompt. All sessions are open before the first one closes."""
    start = Barrier(len(prompts))

    def run(prompt: str) -> list[str]:
        start.wait()
        session = model.session(prompt, author="base")
        found = [step.text for step in session.steps("", 8)]
        start.wait()
        session.close()
        return found

    with ThreadPoolExecutor(len(prompts)) as pool:
        return list(pool.map(run, prompts))


def test_threads_get_the_answers_of_one_at_a_time(path: Path) -> None:
    expected = [answer(LlamaCppModel(path), prompt) for prompt in PROMPTS]
    model = LlamaCppModel(path)
    for _ in range(2):
        assert together(model, PROMPTS) == expected


def test_memory_grows_with_what_is_used_of_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [answer(LlamaCppModel(path), prompt) for prompt in PROMPTS]
    monkeypatch.setattr(context_module, "CELLS", 512)
    model = LlamaCppModel(path, kept_caches=0)
    assert model.engine.context()._cells == 512
    assert together(model, PROMPTS) == expected
    if model.engine.context().can_crop:
        assert model.engine.context()._cells > 512
    assert [answer(model, prompt) for prompt in PROMPTS] == expected


def test_a_session_goes_on_after_memory_has_grown(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [step.text for step in LlamaCppModel(path).session("the sun", author="base").steps("", 16)]
    monkeypatch.setattr(context_module, "CELLS", 512)
    model = LlamaCppModel(path)
    steps = model.session("the sun", author="base").steps("", 16)
    found = [next(steps).text for _ in range(4)]
    others: list[Session] = []
    for prompt in PROMPTS:
        session = model.session(prompt, author="base")
        next(session.steps("", 1))
        others.append(session)
    assert found + [step.text for step in steps] == expected


def test_idle_caches_are_dropped_before_memory_grows(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_module, "CELLS", 512)
    model = LlamaCppModel(files["llama"], kept_caches=50)
    for prompt in PROMPTS * 2:
        answer(model, prompt)
    assert model.engine.context()._cells == 512


def test_more_sequences_are_open_than_a_new_context_has(path: Path) -> None:
    model = LlamaCppModel(path)
    sessions = [model.session(f"the sun {number}", author="base") for number in range(40)]
    found = [[step.text for step in session.steps("", 4)] for session in sessions]
    assert model.engine.context()._sequences > 32
    again = [[step.text for step in session.steps(" so", 4)] for session in sessions]
    for number in (0, 3, 17, 39):
        session = LlamaCppModel(path).session(f"the sun {number}", author="base")
        assert [step.text for step in session.steps("", 4)] == found[number]
        assert [step.text for step in session.steps(" so", 4)] == again[number]


def test_too_many_sequences_are_refused(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_module, "MAX_SEQUENCES", 32)
    model = LlamaCppModel(files["llama"])
    sessions = [model.session("the sun", author="base") for _ in range(33)]
    for session in sessions[:32]:
        next(session.steps("", 1))
    with pytest.raises(ModelError, match="more than 32 answers at the same time: lower at_once"):
        next(sessions[32].steps("", 1))
    sessions[0].close()
    model.caches.drop()
    assert next(sessions[32].steps("", 1))


def test_no_cache_is_kept_if_none_is_wanted(path: Path) -> None:
    model = LlamaCppModel(path, kept_caches=0)
    first = answer(model, PROMPTS[0])
    session = model.session(PROMPTS[0], author="base")
    assert [step.text for step in session.steps("", 8)] == first
    assert session.usage().tokens_fed >= session.usage().prompt_tokens


def passes_of(context: Context, token_lists: list[list[int]], keep: int) -> list[ForwardPass]:
    return [
        ForwardPass(context, context.new_sequence(), [], tokens, min(keep, len(tokens)), np.array)
        for tokens in token_lists
    ]


@pytest.mark.parametrize("keep", [1, 4])
def test_a_batch_gives_the_logits_of_single_passes(path: Path, keep: int) -> None:
    context = LlamaCppModel(path).engine.context()
    lists = [[5], list(range(10, 60)), [7, 8, 9, 10, 11], list(range(200, 220)), [9]]
    single, batched = passes_of(context, lists, keep), passes_of(context, lists, keep)
    for one in single:
        context.run_batch([one])
    context.run_batch(batched)
    for one, other in zip(single, batched, strict=True):
        assert other.result.result().shape[0] == other.keep
        np.testing.assert_allclose(one.result.result(), other.result.result(), atol=0.02)


def test_a_prompt_longer_than_a_pass_is_fed_in_parts(path: Path) -> None:
    context = LlamaCppModel(path).engine.context()
    tokens = [int(token) for token in np.random.default_rng(0).integers(5, 250, 1300)]
    (whole,) = passes_of(context, [tokens], 40)
    context.run_batch([whole])
    sequence, earlier = context.new_sequence(), list[int]()
    for at in range(0, len(tokens), 100):
        rows = context.run(sequence, earlier, tokens[at : at + 100], 40, np.array)
        earlier += tokens[at : at + 100]
    np.testing.assert_allclose(whole.result.result(), rows, atol=0.03)


def test_an_error_reaches_only_the_caller_of_its_pass(path: Path) -> None:
    context = LlamaCppModel(path).engine.context()
    expected = [[5, 6], [7]]
    single = passes_of(context, expected, 1)
    for one in single:
        context.run_batch([one])
    good, wrong, other = passes_of(context, [[5, 6], [10**6], [7]], 1)
    context.run_batch([good, wrong, other])
    with pytest.raises(ModelError, match=r"llama.cpp fails with code -1: .*invalid token"):
        wrong.result.result()
    for one, repeated in zip(single, (good, other), strict=True):
        np.testing.assert_allclose(one.result.result(), repeated.result.result(), atol=0.02)


def test_an_error_of_a_reader_reaches_its_caller_and_leaves_the_model_usable(path: Path) -> None:
    model = LlamaCppModel(path)
    expected = answer(model, "the sun")
    cache = model.engine.new_cache()
    with pytest.raises(ZeroDivisionError):
        cache.extend([5, 6], 1, lambda rows: 1 / 0)
    assert cache.tokens == []
    assert answer(model, "the sun") == expected


def test_an_unloaded_model_frees_its_contexts_before_its_weights(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[object] = []
    for name in ("llama_free", "llama_model_free"):
        free = getattr(llama, name)
        monkeypatch.setattr(llama, name, lambda pointer, free=free: (freed.append(pointer), free(pointer)))
    model = LlamaCppModel(files["llama"])
    next(model.session("the sun", author="base").steps("", 1))
    pointers = [model.engine.context()._pointer, model.engine.load().pointer]
    del model
    for _ in range(100):  # the device's thread may still be about to forget its last pass
        gc.collect()
        if pointers[1] in freed:
            break
        sleep(0.02)
    assert [pointer for pointer in freed if pointer in pointers] == pointers


def test_a_forked_child_answers_as_its_parent_does(nudger: Nudger) -> None:
    expected = nudger.generate("Hi").text
    assert in_forked_child(lambda: nudger.generate("Hi").text) == expected
    assert in_forked_child(lambda: asyncio.run(nudger.agenerate("Hi")).text) == expected
    assert in_forked_child(lambda: [one.text for one in nudger.generate_many(["Hi", "Hi"])]) == [expected] * 2
    assert nudger.generate("Hi").text == expected
