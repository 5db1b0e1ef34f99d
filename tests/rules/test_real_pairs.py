"""Every rule on real pairs, against its naive form. Two or three minutes for each rule and pair (`make golden`)."""

from pathlib import Path

import pytest
from naive import NaiveModel, NaivePair, naive_answer, naive_by_tokens
from nudging import Nudger
from nudging.models.demo import tool_pair

PROMPTS = ("What is the capital of France? Answer in one sentence.", "Give me three tips for staying healthy.")
TOKENS = 20


@pytest.fixture(params=["demo pair", "tool pair"], scope="module")
def folders(request: pytest.FixtureRequest, pair: tuple[Path, Path]) -> tuple[Path, Path]:
    if request.param == "demo pair":
        return pair
    base, nudging = tool_pair(backend="transformers")
    return Path(base), Path(nudging)


@pytest.mark.golden
@pytest.mark.timeout(900)
@pytest.mark.parametrize("end", [0.0, 0.3])
@pytest.mark.parametrize(("rule", "number"), [("words", 0.4), ("tokens", 0.4), ("bet", 0.2), ("blend", 0.4)])
def test_every_rule_gives_the_answers_of_its_naive_form(
    folders: tuple[Path, Path], rule: str, number: float, end: float
) -> None:
    base, nudging = NaiveModel(str(folders[0]), bos=True), NaiveModel(str(folders[1]), bos=False)
    option = {"bet": number} if rule == "bet" else {"threshold": number}
    nudger = Nudger(*folders, rule=rule, end=end, max_tokens=TOKENS, **option)
    for question in PROMPTS:
        answer, prompts = nudger.generate(question), nudger.prompts(question)
        until = len(answer.text)
        if rule == "words":
            naive = naive_answer(base, nudging, prompts.base, prompts.nudging, threshold=0.4, until=until, end=end)
            expected, finish_reason = naive.text, naive.finish_reason
        else:
            pair = NaivePair(base, nudging, prompts.base, prompts.nudging)
            run = naive_by_tokens(pair, rule, number, end=end, until=until)
            expected, finish_reason = run.text, run.finish_reason
        if answer.finish_reason == "length":
            assert expected.startswith(answer.text)
        else:
            assert (answer.text, answer.finish_reason) == (expected, finish_reason)
