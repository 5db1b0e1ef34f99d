"""The engine gives the steps and the answers of llama.cpp used in the simplest way."""

from pathlib import Path
from typing import Any

import pytest
from naive import NaivePair, naive_answer, naive_by_tokens
from naive_gguf import NaiveGGUF
from nudging import Nudger
from nudging.models.llamacpp.model import LlamaCppModel
from tiny_gguf import OTHER, llama_gguf

QUESTIONS = ["why is the sky blue", "你好 🌍, où est le soleil?", "say " * 12]


def compare_steps(model: LlamaCppModel, naive: NaiveGGUF, prompt: str, author: Any, count: int = 24) -> None:
    session = model.session(prompt, author=author)
    steps = list(session.steps("", count))
    session.close()
    expected = naive.complete(prompt, count)
    assert [(step.text, step.end) for step in steps] == [(text, end) for text, _, end in expected]
    assert [step.probability for step in steps] == pytest.approx([one[1] for one in expected], abs=1e-4)


def compare_answers(nudger: Nudger, base: NaiveGGUF, nudging: NaiveGGUF, question: str, threshold: float) -> None:
    answer, prompts = nudger.generate(question, threshold=threshold), nudger.prompts(question)
    expected = naive_answer(
        base,
        nudging,
        prompts.base,
        prompts.nudging,
        threshold=threshold,
        until=len(answer.text),
    )
    if answer.finish_reason == "length":
        assert expected.text.startswith(answer.text)
    else:
        assert (answer.text, answer.finish_reason) == (expected.text, expected.finish_reason)
        assert answer.nudging_words == [words for words in expected.nudging_words if words]


@pytest.mark.parametrize("prompt", [*QUESTIONS, "the sun is far away " * 30], ids=["ascii", "emoji", "again", "long"])
def test_steps_are_those_of_a_new_context(path: Path, prompt: str) -> None:
    compare_steps(LlamaCppModel(path, n_threads=1), NaiveGGUF(path, bos=False), prompt, "nudging")


def test_a_base_prompt_gets_a_bos(files: dict[str, Path]) -> None:
    compare_steps(LlamaCppModel(files["base"]), NaiveGGUF(files["base"], bos=True), "the whales", "base")


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("hints", [False, True], ids=["no-hints", "hints"])
def test_answers_are_those_of_the_naive_decoder(tmp_path: Path, seed: int, hints: bool) -> None:
    paths = (
        llama_gguf(tmp_path / "base.gguf", seed + 10, OTHER, templates=None),
        llama_gguf(tmp_path / "nudging.gguf", seed),
    )
    base, nudging = NaiveGGUF(paths[0], bos=True), NaiveGGUF(paths[1], bos=False)
    nudger = Nudger(*(LlamaCppModel(path, n_threads=1) for path in paths), max_tokens=32, hints=hints)
    for question in QUESTIONS:
        for threshold in (0.05, 0.3):
            compare_answers(nudger, base, nudging, question, threshold)


@pytest.mark.parametrize("kind", ["mamba", "jamba"])
def test_answers_of_models_that_cannot_be_cropped_are_those_of_the_naive_decoder(
    files: dict[str, Path], kind: str
) -> None:
    base, nudging = NaiveGGUF(files[kind], bos=False), NaiveGGUF(files["llama"], bos=False)
    nudger = Nudger(LlamaCppModel(files[kind], n_threads=1), LlamaCppModel(files["llama"], n_threads=1), max_tokens=32)
    for question in QUESTIONS:
        compare_answers(nudger, base, nudging, question, 0.2)
    base, nudging = nudging, base
    nudger = Nudger(LlamaCppModel(files["llama"], n_threads=1), LlamaCppModel(files[kind], n_threads=1), max_tokens=32)
    for question in QUESTIONS:
        compare_answers(nudger, base, nudging, question, 0.2)


@pytest.mark.parametrize("kind", ["llama", "mamba", "jamba"])
@pytest.mark.parametrize(("rule", "number"), [("tokens", 0.1), ("bet", 0.05), ("blend", 0.2)])
def test_every_rule_gives_the_answers_of_its_naive_form(
    files: dict[str, Path], kind: str, rule: str, number: float
) -> None:
    """Also where the nudging model's memory cannot go back, though it checks several places in one pass."""
    option = {"bet": number} if rule == "bet" else {"threshold": number}
    base, nudging = NaiveGGUF(files["base"], bos=True), NaiveGGUF(files[kind], bos=False)
    models = (LlamaCppModel(files[name], n_threads=1) for name in ("base", kind))
    nudger = Nudger(*models, rule=rule, end=0.02, max_tokens=24, **option)
    for question in QUESTIONS:
        answer, prompts = nudger.generate(question), nudger.prompts(question)
        pair = NaivePair(base, nudging, prompts.base, prompts.nudging)
        expected = naive_by_tokens(pair, rule, number, end=0.02, until=len(answer.text))
        if answer.finish_reason == "length":
            assert expected.text.startswith(answer.text)
        else:
            assert (answer.text, answer.finish_reason) == (expected.text, expected.finish_reason)


@pytest.mark.standard
def test_steps_of_the_real_models_are_those_of_a_new_context(real_files: tuple[Path, Path]) -> None:
    compare_steps(LlamaCppModel(real_files[0]), NaiveGGUF(real_files[0], bos=True), "The capital of France", "base")
    nudging = LlamaCppModel(real_files[1])
    prompt = nudging.tokenizer.render([{"role": "user", "content": "Greet me in Chinese, with 🌍."}])
    compare_steps(nudging, NaiveGGUF(real_files[1], bos=False), prompt, "nudging")


def test_an_answer_of_the_real_models_is_that_of_the_naive_decoder(real_files: tuple[Path, Path]) -> None:
    # one that has no near tie: llama.cpp rounds differently in passes of other sizes
    base, nudging = NaiveGGUF(real_files[0], bos=True), NaiveGGUF(real_files[1], bos=False)
    nudger = Nudger(*map(LlamaCppModel, real_files), max_tokens=16, hints=False)
    compare_answers(nudger, base, nudging, "What is the capital of France?", 0.4)
