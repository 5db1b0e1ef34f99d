"""The engine: answers, streams, threads, event loops, cancellation, and refused arguments."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nudging import (
    ContextLengthError,
    ModelNotFoundError,
    Nudger,
    PromptError,
    Prompts,
    ScriptedModel,
    SettingsError,
    Step,
    load_model,
)
from nudging.models.local.model import LocalModel
from nudging.request import Options

QUESTIONS = ["why is the sky blue", "where is the sun", "who says so", "你好 🌍"]


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("stop", [None, " a", ["the", "so"]])
def test_a_joined_stream_is_the_generated_text(tiny: Nudger, question: str, stop: Any) -> None:
    answer = tiny.generate(question, stop=stop)
    assert "".join(piece.text for piece in tiny.stream(question, stop=stop)) == answer.text


@pytest.mark.parametrize("question", QUESTIONS)
async def test_async_answers_are_the_same(tiny: Nudger, question: str) -> None:
    answer = tiny.generate(question)
    assert (await tiny.agenerate(question)).pieces == answer.pieces
    assert [piece async for piece in tiny.astream(question)] == list(answer.pieces)


@given(question=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # no example changes the fixture
def test_any_text_in_any_script_can_be_the_prompt(tiny: Nudger, question: str) -> None:
    answer = tiny.generate(question, max_tokens=8)
    assert answer.text == "".join(piece.text for piece in tiny.stream(question, max_tokens=8))
    answer.text.encode()


def test_an_option_of_a_call_changes_no_later_call(tiny: Nudger) -> None:
    before = tiny.generate(QUESTIONS[0])
    assert 0 < tiny.generate(QUESTIONS[0], max_tokens=3).usage.completion_tokens <= 3
    assert tiny.generate(QUESTIONS[0], max_tokens=None).pieces == before.pieces
    assert tiny.generate(QUESTIONS[0]).pieces == before.pieces


def test_a_seed_repeats_an_answer_and_without_one_answers_differ(tiny: Nudger) -> None:
    def drawn(seed: int | None) -> str:
        return tiny.generate(QUESTIONS[0], temperature=1.5, seed=seed).text

    assert drawn(3) == drawn(3)
    assert len({drawn(None) for _ in range(5)}) > 1
    assert len({drawn(seed) for seed in range(5)}) > 1


def test_usage_counts_tokens_and_forward_passes(tiny: Nudger) -> None:
    answer = tiny.generate(QUESTIONS[0])
    assert answer.usage.completion_tokens == sum(piece.tokens for piece in answer.pieces)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.nudging.forward_passes > 0


def test_the_second_question_on_a_document_does_not_prefill_it_again(tiny_base: Path, tiny_nudging: Path) -> None:
    nudger = Nudger(LocalModel(tiny_base), LocalModel(tiny_nudging), threshold=0.3, max_tokens=5, hints=False)
    document = {"role": "system", "content": "the sky is blue, the sun is far away. " * 5}

    def ask(question: str) -> tuple[int, int]:
        usage = nudger.generate([document, {"role": "user", "content": question}]).usage
        return usage.nudging.prompt_tokens, usage.nudging.tokens_fed

    length, fed = ask("why?")
    assert fed >= length
    for question in ["who?", "where?", "when?", "what?", "how?"]:
        length, fed = ask(question)
        assert fed < length / 2


def test_nudgers_that_name_the_same_models_share_their_weights(tiny: Nudger, tiny_base: Path) -> None:
    assert Nudger(str(tiny_base), str(tiny_base)).base_model is tiny.base_model
    assert load_model(tiny_base, dtype="bfloat16") is not tiny.base_model


def test_concurrent_threads_change_no_answer(tiny: Nudger) -> None:
    expected = [tiny.generate(question).pieces for question in QUESTIONS]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(tiny.generate, QUESTIONS * 4))
    assert [answer.pieces for answer in answers] == expected * 4


async def test_concurrent_tasks_change_no_answer(tiny: Nudger) -> None:
    expected = [tiny.generate(question).pieces for question in QUESTIONS]
    answers = await asyncio.gather(*map(tiny.agenerate, QUESTIONS))
    assert [answer.pieces for answer in answers] == expected


def test_generate_many_gives_the_answers_of_generate(tiny: Nudger) -> None:
    expected = [tiny.generate(question).pieces for question in QUESTIONS]
    assert [answer.pieces for answer in tiny.generate_many(QUESTIONS * 4)] == expected * 4
    assert tiny.generate_many([]) == []
    drawn: Options = {"temperature": 0.8, "seed": 3}
    one_by_one = [tiny.generate(question, **drawn).pieces for question in QUESTIONS]
    assert [answer.pieces for answer in tiny.generate_many(QUESTIONS, **drawn)] == one_by_one


async def test_agenerate_many_does_not_block_the_event_loop(tiny: Nudger) -> None:
    expected = [tiny.generate(question).pieces for question in QUESTIONS]
    work = asyncio.create_task(tiny.agenerate_many(QUESTIONS * 4, at_once=3))
    ticks = 0
    while not work.done():
        await asyncio.sleep(0)
        ticks += 1
    assert [answer.pieces for answer in await work] == expected * 4
    assert ticks > len(QUESTIONS)


def test_all_prompts_are_checked_before_the_first_is_answered(tiny: Nudger) -> None:
    with pytest.raises(PromptError):
        tiny.generate_many([*QUESTIONS, ""])
    with pytest.raises(SettingsError, match="at_once=0"):
        tiny.generate_many(QUESTIONS, at_once=0)


async def test_one_failed_prompt_cancels_the_others(tiny: Nudger) -> None:
    too_long = "the sky " * 2000
    with pytest.raises(ContextLengthError):
        tiny.generate_many([too_long, *QUESTIONS])
    with pytest.raises(ContextLengthError):
        await tiny.agenerate_many([*QUESTIONS, too_long])
    assert tiny.generate(QUESTIONS[0]).pieces


# streams that end early


def test_a_stream_closed_early_keeps_its_answer_and_frees_the_engine(tiny: Nudger) -> None:
    whole = tiny.generate(QUESTIONS[0])
    with tiny.stream(QUESTIONS[0]) as stream:
        first = next(stream)
    assert stream.answer.pieces == (first,)
    assert stream.answer.finish_reason is None
    assert list(stream) == []
    assert tiny.generate(QUESTIONS[0]).pieces == whole.pieces


def test_a_closed_stream_computes_no_more_steps(tiny_base: Path, tiny_nudging: Path) -> None:
    nudger = Nudger(tiny_base, tiny_nudging, threshold=0.3, max_tokens=40, hints=False)
    whole = nudger.generate(QUESTIONS[0])
    stream = nudger.stream(QUESTIONS[0] + "!")
    next(stream)
    stream.close()
    assert stream.answer.usage.nudging.forward_passes < whole.usage.nudging.forward_passes


async def test_a_cancelled_answer_leaves_the_engine_usable(tiny: Nudger) -> None:
    expected = tiny.generate(QUESTIONS[1]).pieces
    for delay in [0.0, 0.005, 0.02, 0.05]:
        task = asyncio.create_task(tiny.agenerate(QUESTIONS[0], max_tokens=200))
        await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await tiny.agenerate(QUESTIONS[1])).pieces == expected


async def test_breaking_out_of_an_async_stream_frees_the_engine(tiny: Nudger) -> None:
    async with tiny.astream(QUESTIONS[0]) as stream:
        async for _ in stream:
            break
    assert len(stream.answer.pieces) == 1
    assert (await tiny.agenerate(QUESTIONS[0])).pieces == tiny.generate(QUESTIONS[0]).pieces


async def test_a_slow_model_does_not_block_the_event_loop() -> None:
    def slowly(prompt: str, text: str) -> Sequence[Step]:
        time.sleep(0.2)
        return [Step("done", 1.0), Step("", 1.0, end=True)]

    nudger = Nudger(ScriptedModel("done"), ScriptedModel(slowly))
    task = asyncio.create_task(nudger.agenerate("Hi"))
    ticks = 0
    while not task.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 5
    assert (await task).text == "done"


def fails(prompt: str, text: str) -> Sequence[Step]:
    raise RuntimeError("the server is gone")


async def test_an_exception_of_a_model_reaches_the_caller() -> None:
    nudger = Nudger(ScriptedModel(fails), ScriptedModel("one two three " * 6))
    with pytest.raises(RuntimeError, match="the server is gone"):
        nudger.generate("Hi")
    with pytest.raises(RuntimeError, match="the server is gone"):
        await nudger.agenerate("Hi")
    with pytest.raises(RuntimeError, match="the server is gone"):
        list(nudger.stream("Hi"))


# refused arguments


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("threshold", 1.01, "threshold=1.01"),
        ("threshold", -0.1, "threshold=-0.1"),
        ("threshold", float("nan"), "threshold=nan"),
        ("threshold", "high", "threshold='high'"),
        ("max_tokens", 0, "max_tokens=0"),
        ("max_tokens", 2.5, "max_tokens=2.5"),
        ("lookahead", 0, "lookahead=0"),
        ("temperature", -1, "temperature=-1"),
        ("top_p", -0.1, "top_p=-0.1"),
        ("seed", -1, "seed=-1"),
        ("stop", [""], r"stop=''"),
        ("stop", 3, "stop=3"),
    ],
)
def test_a_setting_out_of_range_is_named(setting: str, value: Any, message: str) -> None:
    model = ScriptedModel("Hello")
    with pytest.raises(SettingsError, match=message):
        Nudger(model, model, **{setting: value})
    nudger = Nudger(model, model)
    for ask in (nudger.generate, nudger.stream, nudger.astream):
        with pytest.raises(SettingsError, match=message):
            ask("Hi", **{setting: value})


def test_the_error_for_an_unknown_setting_lists_the_known_ones() -> None:
    model = ScriptedModel("Hello")
    with pytest.raises(SettingsError, match="no setting 'gamma': choose from rule, threshold"):
        Nudger(model, model).generate("Hi", gamma=0.4)


@pytest.mark.parametrize(
    "arguments",
    [
        {"base_model": ""},
        {"nudging_model": None},
        {"base_model": 7},
        {"dtype": "int4"},
        {"device": "cpu", "device_map": "auto"},
    ],
)
def test_impossible_model_options_are_refused_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(arguments))):
        Nudger(**{"base_model": "a", "nudging_model": "b"} | arguments)


def test_models_are_looked_up_at_the_first_call(tmp_path: Path) -> None:
    nudger = Nudger(tmp_path / "nowhere", tmp_path / "nowhere-either")
    with pytest.raises(PromptError):
        nudger.stream("")  # the prompt is checked first
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        nudger.stream("why")


def test_rendered_prompts_are_used_unchanged(tiny: Nudger) -> None:
    assert tiny.prompts(Prompts(base="a", nudging="b")) == Prompts(base="a", nudging="b")
    assert tiny.generate(Prompts(base="the sky", nudging="the sky")).text


def test_the_repr_shows_the_models_and_the_changed_settings() -> None:
    assert repr(Nudger("a", "b", threshold=0.2)) == "Nudger(base_model='a', nudging_model='b', threshold=0.2)"


def test_the_identity_changes_with_every_option_that_can_change_an_answer() -> None:
    plain = Nudger("a", "b").identity
    for change in [
        {"base_model": "c"},
        {"nudging_model": "c"},
        {"threshold": 0.5},
        {"lookahead": 8},
        {"max_tokens": 9},
        {"temperature": 1.0},
        {"top_p": 0.5},
        {"seed": 1},
        {"stop": "x"},
        {"base_template": "x"},
        {"dtype": "bfloat16"},
        {"nudging_template": "x"},
        {"base_revision": "x"},
        {"nudging_revision": "x"},
        {"device": "cuda"},
    ]:
        assert Nudger(**{"base_model": "a", "nudging_model": "b"} | change).identity != plain
    assert Nudger("a", "b").identity == plain
