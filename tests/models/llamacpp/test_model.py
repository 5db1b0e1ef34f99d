"""A GGUF file as a model: context, grammars, sampling, scores, mixed pairs, event loops, memory."""

import asyncio
import gc
import json
import re
from pathlib import Path
from typing import Any

import psutil
import pytest
from naive_gguf import NaiveGGUF
from nudging import ContextLengthError, Nudger
from nudging.grammar.grammar import Grammar
from nudging.models.base import Hint, Sampling
from nudging.models.llamacpp.model import LlamaCppModel
from nudging.models.local.model import LocalModel
from tiny_gguf import OTHER, llama_gguf

SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["sky", "sun"]}, "far": {"type": "boolean"}},
    "required": ["name", "far"],
    "additionalProperties": False,
}
DRAWN: dict[str, Any] = {"temperature": 1.0, "top_p": 0.9, "seed": 5}


def test_a_model_says_what_it_is(files: dict[str, Path]) -> None:
    model = LlamaCppModel(files["llama"], n_ctx=64, n_threads=1)
    assert dict(model.identity) == {
        "name": str(files["llama"]),
        "backend": "llamacpp",
        "revision": None,
        "n_ctx": 64,
        "n_gpu_layers": None,
        "lora": {},
    }
    assert repr(model) == f"LlamaCppModel({str(files['llama'])!r})"


def test_n_ctx_shortens_the_context(files: dict[str, Path]) -> None:
    path = files["llama"]
    assert [LlamaCppModel(path, n_ctx=n_ctx).context_length for n_ctx in (None, 64, 10**6)] == [512, 64, 512]
    model = LlamaCppModel(path, n_ctx=16)
    with pytest.raises(ContextLengthError, match=r"has \d+ tokens, and .*llama\.gguf has a context of 16"):
        model.session("the sky is blue " * 20, author="base")
    assert model.engine._context is None  # refused before anything is computed
    room = 16 - len(model.tokenizer.encode("the sky", special_tokens=True))
    for limit in (room - 1, room, room + 1, 200):
        steps = list(model.session("the sky", author="base").steps("", limit, Hint(" a" * 40)))
        assert len(steps) <= room
    answer = Nudger(LlamaCppModel(files["base"], n_ctx=40), LlamaCppModel(path, n_ctx=40), max_tokens=200).generate(
        "Hi"
    )
    assert answer.finish_reason == "length"


def test_the_number_of_threads_changes_no_answer(files: dict[str, Path]) -> None:
    found = {
        tuple(
            step.text for step in LlamaCppModel(files["llama"], n_threads=n).session("so", author="base").steps("", 16)
        )
        for n in (None, 1, 2)
    }
    assert len(found) == 1


@pytest.mark.parametrize("hints", [False, True], ids=["no-hints", "hints"])
@pytest.mark.parametrize("drawn", [{}, DRAWN], ids=["greedy", "seeded"])
def test_answers_follow_their_grammar(files: dict[str, Path], path: Path, hints: bool, drawn: dict[str, Any]) -> None:
    nudger = Nudger(LlamaCppModel(files["base"]), LlamaCppModel(path), threshold=0.2, hints=hints, max_tokens=60)
    for question in ("Hi", "why 🌍"):
        answer = json.loads(nudger.generate(question, schema=SCHEMA, **drawn).text)
        assert answer["name"] in ("sky", "sun")
        assert isinstance(answer["far"], bool)
        assert re.fullmatch("(sun|sky){2}", nudger.generate(question, regex="(sun|sky){2}", **drawn).text)


@pytest.mark.parametrize("hints", [False, True], ids=["no-hints", "hints"])
def test_tool_calls_are_valid(tmp_path: Path, hints: bool) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}
    pair = (
        llama_gguf(tmp_path / "base.gguf", vocabulary=OTHER, context=2048),
        llama_gguf(tmp_path / "nudging.gguf", context=2048),
    )
    nudger = Nudger(*map(LlamaCppModel, pair), hints=hints, max_tokens=120)
    answer = nudger.generate("Hi", tools=[tool], tool_choice="required")
    assert answer.tool_calls
    assert not answer.invalid_tool_calls
    assert all(call.name == "look" and call.arguments["name"] in ("sky", "sun") for call in answer.tool_calls)


def test_answers_of_the_real_models_follow_their_grammar(real_files: tuple[Path, Path]) -> None:
    for hints in (False, True):
        nudger = Nudger(*map(LlamaCppModel, real_files), hints=hints, max_tokens=30)
        answer = json.loads(nudger.generate("How far is the sun?", schema=SCHEMA).text)
        assert set(answer) == {"name", "far"}
        assert re.fullmatch("[a-z]{3,8} 🌍", nudger.generate("Name a place.", regex="[a-z]{3,8} 🌍").text)


def test_no_hint_changes_a_step_under_a_grammar(path: Path) -> None:
    model, grammar = LlamaCppModel(path, kept_caches=0), Grammar.of_regex("( the| a| blue| far)+")
    for sampling in (None, Sampling(1.0, 1.0, "3")):
        found = []
        for hint in (None, Hint(" the blue a"), Hint(" sky"), Hint(" far far far far")):
            session = model.session("the sun is", author="base", sampling=sampling, grammar=grammar)
            found.append([step.text for step in session.steps("", 10, hint)])
            session.close()
        assert found == [found[0]] * 4
        text = "".join(found[0])
        followed = re.match("( the| a| blue| far)*", text)
        assert followed
        assert any(word.startswith(text[followed.end() :]) for word in (" the", " a", " blue", " far"))


def test_a_seed_repeats_an_answer(nudger: Nudger) -> None:
    first = nudger.generate("Hi", **DRAWN)
    assert nudger.generate("Hi", **DRAWN).pieces == first.pieces
    assert len({nudger.generate("Hi", temperature=1.0, seed=seed).text for seed in range(5)}) > 2


@pytest.mark.parametrize("answer", [" so we go there", " 🌍", " the" * 100])
def test_scores_are_the_log_probabilities_of_single_passes(path: Path, answer: str) -> None:
    session = LlamaCppModel(path).session("the sky is", author="nudging")
    scores = session.score(answer)
    assert "".join(score.token for score in scores) == answer
    assert [score.logprob for score in scores] == pytest.approx(
        NaiveGGUF(path, bos=False).logprobs("the sky is", answer), abs=0.02
    )


def test_the_steps_beside_an_answer_are_those_after_each_of_its_starts(path: Path) -> None:
    answer, model = " so we go there", LlamaCppModel(path)
    for at, step in model.session("the sky is", author="base").teacher_forced(answer):
        expected = next(LlamaCppModel(path).session("the sky is", author="base").steps(answer[:at], 1))
        assert step.text == expected.text
        assert step.probability == pytest.approx(expected.probability, abs=0.01)


def test_the_two_models_of_a_pair_may_run_on_different_backends(
    files: dict[str, Path], tiny_base: Path, tiny_nudging: Path
) -> None:
    for pair in ((files["base"], tiny_nudging), (tiny_base, files["llama"])):
        nudger = Nudger(*pair, threshold=0.3, max_tokens=24)
        plain = Nudger(*pair, threshold=0.3, max_tokens=24, hints=False)
        for question in ("Hi", "你好 🌍"):
            assert nudger.generate(question).pieces == plain.generate(question).pieces
    assert isinstance(nudger.base_model, LocalModel)
    assert isinstance(nudger.nudging_model, LlamaCppModel)


async def test_answers_on_an_event_loop_are_those_of_threads(nudger: Nudger) -> None:
    questions = [f"Hi {number}" for number in range(6)]
    expected = [answer.text for answer in nudger.generate_many(questions)]
    assert [answer.text for answer in await nudger.agenerate_many(questions)] == expected
    assert [nudger.generate(question).text for question in questions] == expected


async def test_a_cancelled_answer_leaves_the_model_usable(nudger: Nudger) -> None:
    expected = nudger.generate("Hi").text
    for _ in range(5):
        task = asyncio.create_task(nudger.agenerate("why is the sky so far away"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    stream = nudger.stream("so far away")
    next(stream)
    stream.close()
    assert nudger.generate("Hi").text == expected
    assert (await nudger.agenerate("Hi")).text == expected


def test_memory_stays_flat(nudger: Nudger) -> None:
    process = psutil.Process()

    def answer_some(start: int, count: int) -> None:
        for number in range(start, start + count):
            nudger.generate(f"Hi {number}", max_tokens=6)

    answer_some(0, 30)
    gc.collect()
    before = process.memory_info().rss
    answer_some(30, 150)
    gc.collect()
    assert process.memory_info().rss - before < 20e6
