"""The engine gives the answers of the naive decoder, on tiny models with sliding windows and split characters."""

from pathlib import Path

import pytest
from naive import NaiveModel, NaivePair, naive_answer, naive_by_tokens
from nudging import Nudger
from nudging.models.local.model import LocalModel
from tiny import tiny_gemma, tiny_llama

QUESTIONS = ["why is the sky blue", "你好 🌍, où est le soleil?", "say " * 12]


@pytest.fixture(scope="module", params=[0, 1, 2], ids=lambda seed: f"models-{seed}")
def tiny_pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    return tiny_gemma(folder / "base", request.param), tiny_llama(folder / "nudging", request.param)


@pytest.mark.parametrize(("threshold", "end"), [(0.05, 0.0), (0.2, 0.0), (0.4, 0.0), (0.05, 0.002), (0.2, 0.02)])
def test_the_engine_gives_the_answers_of_the_naive_decoder(
    tiny_pair: tuple[Path, Path], threshold: float, end: float
) -> None:
    base, nudging = NaiveModel(str(tiny_pair[0]), bos=True), NaiveModel(str(tiny_pair[1]), bos=False)
    nudger = Nudger(*tiny_pair, threshold=threshold, max_tokens=32, end=end)
    for question in QUESTIONS:
        answer, prompts = nudger.generate(question), nudger.prompts(question)
        expected = naive_answer(
            base, nudging, prompts.base, prompts.nudging, threshold=threshold, until=len(answer.text), end=end
        )
        words = [words for words in expected.nudging_words if words]
        if answer.finish_reason == "length":
            assert expected.text.startswith(answer.text)
            assert answer.nudging_words[:-1] == words[: len(answer.nudging_words) - 1]
        else:
            assert (answer.text, answer.finish_reason) == (expected.text, expected.finish_reason)
            assert answer.nudging_words == words


@pytest.mark.parametrize(
    ("rule", "number", "end"),
    [("tokens", 0.05, 0.02), ("bet", 0.1, 0.0), ("bet", 0.1, 0.02), ("bet", 0.9, 0.0), ("blend", 0.3, 0.02)],
)
def test_every_rule_gives_the_answers_of_its_naive_form(
    tiny_pair: tuple[Path, Path], rule: str, number: float, end: float
) -> None:
    base, nudging = NaiveModel(str(tiny_pair[0]), bos=True), NaiveModel(str(tiny_pair[1]), bos=False)
    option = {"bet": number} if rule == "bet" else {"threshold": number}
    nudger = Nudger(*tiny_pair, rule=rule, end=end, max_tokens=24, **option)
    for question in QUESTIONS:
        answer, prompts = nudger.generate(question), nudger.prompts(question)
        pair = NaivePair(base, nudging, prompts.base, prompts.nudging)
        expected = naive_by_tokens(pair, rule, number, end=end, until=len(answer.text))
        if answer.finish_reason == "length":
            assert expected.text.startswith(answer.text)
        else:
            assert (answer.text, answer.finish_reason) == (expected.text, expected.finish_reason)


@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.4])
def test_hints_and_caches_change_no_answer(tiny_pair: tuple[Path, Path], threshold: float) -> None:
    hinted, plain, warm = (
        Nudger(*(LocalModel(folder, kept_caches=kept) for folder in tiny_pair), max_tokens=32, hints=hints)
        for hints, kept in ((True, 0), (False, 0), (True, 4))
    )
    asked = [(one, drawn) for one in QUESTIONS for drawn in ({}, {"temperature": 1.0, "top_p": 0.9, "seed": 5})]
    expected = [plain.generate(one, threshold=threshold, **drawn).pieces for one, drawn in asked]
    for nudger in (hinted, warm, warm):  # the second time the caches hold every answer
        assert [nudger.generate(one, threshold=threshold, **drawn).pieces for one, drawn in asked] == expected
