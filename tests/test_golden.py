"""The real pair answers as the authors' own program does. `make golden` runs all transcripts in all settings."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from nudging import Answer, Nudger, Prompts, unload_models
from nudging.models.local.model import LocalModel

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "golden" / "demo-pair.json").read_text())
SAMPLE = {"health", "capital", "rag", "rag-98", "unicode"}
BY_ID = [pytest.param(case, id=case["id"]) for case in CASES]
OF_SAMPLE = [pytest.param(case, id=case["id"]) for case in CASES if case["id"] in SAMPLE]


def answer(nudger: Nudger, case: dict[str, Any]) -> Answer:
    # the program counted its budget with a third tokenizer: some answers are longer in base-model tokens
    prompts = Prompts(base=case["base_prompt"], nudging=case["nudge_prompt"])
    return nudger.generate(prompts, threshold=case["gamma"], max_tokens=case["max_tokens"] * 3 // 2)


def check(answer: Answer, case: dict[str, Any]) -> None:
    if case["stop_reason"] == "nudging_model_stop":
        assert answer.text == case["answer"]
        assert answer.nudging_words == case["nudging_words"]
        assert answer.rounds == case["rounds"]
        assert answer.finish_reason == "stop"
    else:
        whole = len(case["rounds"]) - 1
        assert answer.text.startswith("".join(case["rounds"][:whole]))
        assert answer.nudging_words[:whole] == case["nudging_words"][:whole]
        assert answer.rounds[:whole] == case["rounds"][:whole]


@pytest.mark.parametrize("case", OF_SAMPLE)
def test_a_sample_of_the_transcripts_is_reproduced(demo: Nudger, case: dict[str, Any]) -> None:
    found = answer(demo, case)
    check(found, case)
    # the authors' program needs 3.1 forward passes per token
    assert found.usage.base.forward_passes <= found.usage.completion_tokens


@pytest.mark.parametrize("case", OF_SAMPLE)
def test_messages_are_rendered_as_in_the_authors_program(demo: Nudger, case: dict[str, Any]) -> None:
    messages = [{"role": "system", "content": case["system"]}, {"role": "user", "content": case["question"]}]
    assert demo.prompts(messages) == Prompts(base=case["base_prompt"], nudging=case["nudge_prompt"])


@pytest.mark.parametrize("case", [case for case in BY_ID if case.id in {"rag-98", "unicode"}])
def test_without_hints_the_real_pair_gives_the_same_answer(pair: tuple[Path, Path], case: dict[str, Any]) -> None:
    plain = answer(cold(pair, hints=False), case)
    assert plain.text == case["answer"]
    assert plain.rounds == case["rounds"]
    for usage in (plain.usage.base, plain.usage.nudging):  # no token is prefilled twice
        assert usage.tokens_fed <= usage.prompt_tokens + usage.forward_passes * 3


def cold(pair: tuple[Path, Path], hints: bool) -> Nudger:
    """Return a nudger whose models keep no KV caches between answers."""
    return Nudger(LocalModel(pair[0], kept_caches=0), LocalModel(pair[1], kept_caches=0), hints=hints)


# every transcript in all settings


@pytest.fixture(params=[1, 2], ids=["one-thread", "two-threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.golden
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", BY_ID)
def test_threads_hints_and_caches_change_no_transcript(
    pair: tuple[Path, Path], threads: int, case: dict[str, Any]
) -> None:
    unload_models()
    first = answer(Nudger(*pair), case)
    check(first, case)
    assert first.usage.base.forward_passes <= first.usage.completion_tokens
    warm = answer(Nudger(*pair), case)
    assert warm.pieces == first.pieces
    assert warm.usage.base.tokens_fed <= first.usage.base.tokens_fed
    assert answer(cold(pair, hints=False), case).pieces == first.pieces
