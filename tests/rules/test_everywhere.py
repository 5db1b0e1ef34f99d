"""Every rule on every kind of pair: one answer, however it is asked for, and within its limits.

Pairs on servers are in `models/remote/test_rules.py`.
"""

import json
import random
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from naive import NaivePair, naive_answer, naive_bet, naive_blend, naive_tokens
from nudging import Answer, GrammarError, Nudger, Prompts, ScriptedModel
from nudging.grammar.grammar import Grammar
from nudging.models.base import Model, Sampling
from nudging.models.llamacpp.model import LlamaCppModel
from nudging.models.local.model import LocalModel
from nudging.step import Step
from played import play, say
from random_models import TOKENS, RandomModel
from random_schemas import random_object_schema
from tiny import tiny_gemma, tiny_llama
from tiny_gguf import OTHER, jamba_gguf, llama_gguf, mamba_gguf

Models: TypeAlias = Mapping[str, Callable[[], Model]]

NUMBERS: dict[str, dict[str, float]] = {
    "words": {"threshold": 0.2},
    "tokens": {"threshold": 0.1},
    "bet": {"bet": 0.1},
    "blend": {"threshold": 0.2},
}
RULES = pytest.mark.parametrize("rule", list(NUMBERS))
ENDS = pytest.mark.parametrize("end", [0.0, 0.02])
MAX_TOKENS = 12
DRAWN = {"temperature": 1.0, "top_p": 0.9, "seed": 5}
TOOL = {
    "type": "function",
    "function": {
        "name": "sky",
        "description": "So.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}


def raw(text: str) -> Prompts:
    """Return prompts without schema and tools, which would fill the small context of tiny models."""
    return Prompts(base=text, nudging=text)


QUESTIONS = [raw("the sun"), raw("é 🌍")]
"""Questions that lead the tiny GGUF pair to no near tie, where hints could change the answer (see docs/gguf.md)."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """New models of each kind, by name. Those called "short" have a context of 64 tokens."""
    folder = tmp_path_factory.mktemp("models")
    tiny_gemma(folder / "torch-base")
    tiny_gemma(folder / "torch-short-base", context=64)
    tiny_llama(folder / "torch-nudging")
    tiny_llama(folder / "torch-short-nudging", context=64)
    llama_gguf(folder / "gguf-base", seed=2, vocabulary=OTHER, templates=None)
    llama_gguf(folder / "gguf-nudging")
    mamba_gguf(folder / "gguf-mamba")
    jamba_gguf(folder / "gguf-jamba")

    def opened(path: Path, **options: Any) -> Callable[[], Model]:
        kind: Any = LocalModel if path.name.startswith("torch") else LlamaCppModel
        return lambda: kind(path, **options)

    return {
        **{path.name: opened(path) for path in folder.iterdir()},
        "gguf-short-base": opened(folder / "gguf-base", n_ctx=64),
        "gguf-short-nudging": opened(folder / "gguf-nudging", n_ctx=64),
    }


@pytest.fixture(scope="module", params=["torch", "gguf"])
def pair(request: pytest.FixtureRequest, models: Models) -> tuple[Model, Model]:
    """A base model and a nudging model of each kind, with caches that stay from test to test."""
    return models[f"{request.param}-base"](), models[f"{request.param}-nudging"]()


@pytest.fixture
def nudger(pair: tuple[Model, Model], rule: Any, end: float) -> Nudger:
    return nudged(*pair, rule, end)


def nudged(base: Model, nudging: Model, rule: Any, end: float, **options: Any) -> Nudger:
    return Nudger(base, nudging, **{"rule": rule, "end": end, "max_tokens": MAX_TOKENS, **NUMBERS[rule], **options})


def check(answer: Answer, max_tokens: int = MAX_TOKENS) -> None:
    """Check what holds for every complete answer."""
    assert answer.finish_reason in ("stop", "length", "loop")
    assert answer.usage.completion_tokens == sum(piece.tokens for piece in answer.pieces) <= max_tokens
    assert all(piece.text and piece.tokens > 0 and piece.author in ("base", "nudging") for piece in answer.pieces)
    assert all(later.round - piece.round >= 0 for piece, later in pairwise(answer.pieces))


@RULES
@ENDS
@pytest.mark.parametrize("drawn", [{}, DRAWN], ids=["greedy", "sampled"])
async def test_one_answer_however_it_is_asked_for(nudger: Nudger, drawn: dict[str, Any]) -> None:
    nudger.hints = False
    first, second = (nudger.generate(question, **drawn) for question in QUESTIONS)
    nudger.hints = True
    together = nudger.generate_many(QUESTIONS, **drawn)
    assert [answer.pieces for answer in together] == [first.pieces, second.pieces]
    for answer in (first, second):
        check(answer)
    assert (await nudger.agenerate(QUESTIONS[1], **drawn)).pieces == second.pieces
    astream = nudger.astream(QUESTIONS[0], **drawn)
    assert tuple([piece async for piece in astream]) == first.pieces
    assert (astream.answer.finish_reason, astream.answer.rule) == (first.finish_reason, nudger.settings.rule_used)
    with nudger.stream(QUESTIONS[1], logprobs=True, **drawn) as stream:
        assert tuple(stream) == second.pieces
    scored = "".join(token.token for token in stream.answer.logprobs or ())
    assert scored.rstrip("\ufffd") == second.text.rstrip("\ufffd")  # random models write bytes that are no characters


@RULES
@ENDS
def test_budgets_and_stop_strings_cut_the_answer(nudger: Nudger) -> None:
    for question in QUESTIONS:
        answer = nudger.generate(question)
        count = nudger.base_model.session("so", author="base").fit
        for piece in answer.pieces:
            if piece.author == "nudging":
                assert count(piece.text, 1000).tokens == piece.tokens
        for max_tokens in (1, 2, 7):
            shorter = nudger.generate(question, max_tokens=max_tokens)
            check(shorter, max_tokens)
            assert answer.text.startswith(shorter.text)
        *ends, _ = accumulate(len(piece.text) for piece in answer.pieces)
        for end in ends[1::4]:
            stop = answer.text[max(0, end - 2) : end + 2]  # from one piece into the next
            stopped = nudger.generate(question, stop=[stop, "never"])
            check(stopped)
            assert (stopped.text, stopped.finish_reason) == (answer.text[: answer.text.find(stop)], "stop")


@RULES
@ENDS
def test_a_closed_stream_changes_no_later_answer(nudger: Nudger) -> None:
    expected = nudger.generate(QUESTIONS[0]).pieces
    for pieces in (0, 1):
        with nudger.stream(QUESTIONS[0]) as stream:
            for _ in range(pieces):
                next(stream)
        assert stream.answer.finish_reason is None
        assert stream.answer.pieces == expected[:pieces]
        assert nudger.generate(QUESTIONS[0]).pieces == expected


@RULES
@ENDS
def test_two_threads_share_one_nudger(nudger: Nudger) -> None:
    expected = [nudger.generate(question).pieces for question in QUESTIONS]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(nudger.generate, QUESTIONS))
    assert [answer.pieces for answer in answers] == expected


# constrained


@RULES
@ENDS
def test_an_answer_is_valid_under_any_schema_and_budget(nudger: Nudger) -> None:
    rng = random.Random(f"{nudger.settings.rule}{nudger.settings.end}{type(nudger.base_model).__name__}")
    schema = random_object_schema(rng, depth=2)
    drawn: dict[str, Any] = {"temperature": rng.choice([0.0, 0.8]), "seed": 5, "schema": schema}
    with pytest.raises(GrammarError, match=r"needs at least (\d+) tokens") as refused:
        nudger.generate(QUESTIONS[0], max_tokens=1, **drawn)
    least = int(str(refused.value).split("needs at least ")[1].split()[0])
    for max_tokens in (least, least + rng.randint(1, 9), least + 40):
        nudger.hints = False
        answer = nudger.generate(QUESTIONS[0], max_tokens=max_tokens, **drawn)
        check(answer, max_tokens)
        Draft202012Validator(schema).validate(json.loads(answer.text))
        nudger.hints = True
        assert nudger.generate(QUESTIONS[0], max_tokens=max_tokens, **drawn).pieces == answer.pieces


@RULES
@ENDS
@pytest.mark.parametrize("drawn", [{}, DRAWN], ids=["greedy", "sampled"])
def test_an_answer_follows_a_regex(nudger: Nudger, drawn: dict[str, Any]) -> None:
    for regex in (r"[a-z]{2,8}( [a-z]{1,6}){0,3}\.", r"[éß🌍 ]{3,12}"):
        nudger.hints = False
        answer = nudger.generate(QUESTIONS[0], regex=regex, stop="a", **drawn)
        check(answer)
        assert re.fullmatch(regex, answer.text)
        nudger.hints = True
        assert nudger.generate(QUESTIONS[0], regex=regex, **drawn).pieces == answer.pieces


@RULES
@ENDS
def test_a_tool_that_must_be_called_is_called(nudger: Nudger) -> None:
    for drawn in ({}, DRAWN):
        answer = nudger.generate(QUESTIONS[0], tools=[TOOL], tool_choice="required", max_tokens=80, **drawn)
        check(answer, 80)
        assert {call.name for call in answer.tool_calls} == {"sky"}
        assert all(isinstance(call.arguments["a"], int) for call in answer.tool_calls)
        free = nudger.generate(QUESTIONS[0], tools=[TOOL], **drawn)
        assert free.text == "".join(piece.text for piece in nudger.stream(QUESTIONS[0], tools=[TOOL], **drawn))


# contexts, recurrent models, scripts


@RULES
@ENDS
@pytest.mark.parametrize("kind", ["torch", "gguf"])
@pytest.mark.parametrize("short", ["base", "nudging"])
def test_a_full_context_ends_the_answer(models: Models, rule: str, end: float, kind: str, short: str) -> None:
    names = [f"{kind}-short-{author}" if author == short else f"{kind}-{author}" for author in ("base", "nudging")]
    nudger = nudged(*(models[name]() for name in names), rule, end, max_tokens=400)
    for drawn in ({}, DRAWN):
        answer = nudger.generate(raw("blue " * 9), **drawn)
        check(answer, 400)
        assert answer.finish_reason in ("length", "loop", "stop")
        assert answer.usage.completion_tokens < 400


@RULES
@ENDS
@pytest.mark.parametrize("kind", ["gguf-mamba", "gguf-jamba"])
def test_models_that_cannot_go_back(models: Models, rule: str, end: float, kind: str) -> None:
    base = models["torch-base" if kind.startswith("torch") else "gguf-base"]()
    for pair in ((base, models[kind]()), (models[kind](), models[kind.split("-")[0] + "-nudging"]())):
        answers = [
            nudged(*pair, rule, end, hints=hints).generate(QUESTIONS[0], max_tokens=12).pieces
            for hints in (False, True)
        ]
        assert answers[0] == answers[1]


@pytest.mark.parametrize("name", ["torch-nudging", "gguf-nudging", "gguf-mamba", "gguf-jamba"])
@pytest.mark.parametrize("sampling", [None, Sampling(1.0, 1.0, "7")], ids=["greedy", "sampled"])
@pytest.mark.parametrize("regex", [None, "[a-zé .]*"])
def test_checks_are_the_first_steps(models: Models, name: str, sampling: Sampling | None, regex: str | None) -> None:
    options: dict[str, Any] = {
        "author": "nudging",
        "sampling": sampling,
        "grammar": Grammar.of_regex(regex) if regex else None,
        "alternatives": 3,
    }
    model = models[name]()
    session = model.session("the sky", **options)
    for run in ([], [" is", " bl", "ue", "."], [" is", " b", " é"], [" is", "", " a"], [" w", "e g", "o t", "here "]):
        found = session.checks(" so", run)
        fresh = [model.session("the sky", **options) for _ in found]
        expected = [next(one.steps(text, 1)) for one, text in zip(fresh, accumulate((" so", *run)), strict=True)]
        assert list(map(rounded, found)) == list(map(rounded, expected))


def rounded(step: Step) -> tuple[Any, ...]:
    """Return a step with its probabilities to four digits: passes over one token and over many differ a little."""
    listed = {(one.text, one.end, round(one.probability, 4)) for one in step.alternatives[:1]}
    return step.text, step.end, round(step.probability, 4), round(step.own_probability, 4), listed


@pytest.mark.parametrize("name", ["torch-short-nudging", "gguf-short-nudging"])
def test_checks_feed_no_more_than_the_context(models: Models, name: str) -> None:
    model = models[name]()
    length = len(model.tokenizer.encode("b" * 60, special_tokens=False))
    session = model.session("b" * 60, author="nudging")
    assert len(session.checks("", ["c"] * 8)) == model.context_length - length
    assert session.usage().tokens_fed <= model.context_length


@RULES
@ENDS
@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_scripted_models_write_their_script(rule: str, end: float, probability: float) -> None:
    model = ScriptedModel("Hello there, how can I help?\nAsk me.", probability=probability)
    nudger = nudged(model, model, rule, end)
    for drawn in ({}, DRAWN):
        answer = nudger.generate("Hi", **drawn)
        assert (answer.text, answer.finish_reason) == ("Hello there, how can I help?\nAsk me.", "stop")
    assert nudger.generate("Hi", stop="can I").text == "Hello there, how "
    person = ScriptedModel('{"a": 5}', probability=probability)
    assert json.loads(nudged(person, person, rule, end).generate("Hi", schema={"type": "object"}).text) == {"a": 5}


# random tables


def test_a_context_that_is_full_within_a_character_ends_the_answer() -> None:
    cut_off = [Step("", 0.9)]
    assert play({"": cut_off}, {"": say("e", p=0.1)}, rule="bet").finish_reason == "length"


@st.composite
def random_models(draw: st.DrawFn, context: int = 1000) -> RandomModel:
    seed, ends = draw(st.integers(0, 10**6)), draw(st.sampled_from([0.0, 0.05, 0.2]))
    return RandomModel(seed, ends, forgetful=draw(st.booleans()), context=context)


PROBABILITY = st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0])


@RULES
@given(
    base=random_models(),
    nudging=random_models(),
    number=PROBABILITY,
    end=PROBABILITY,
)
# under blend, a loop is complete just before a token that the base model is not sure of
@example(base=RandomModel(341062, 0.2, forgetful=True), nudging=RandomModel(0, 0.05), number=0.2, end=0.2)
def test_random_models_are_answered_as_by_the_naive_rule(
    rule: str, base: RandomModel, nudging: RandomModel, number: float, end: float
) -> None:
    name = "bet" if rule == "bet" else "threshold"
    if rule == "words":  # the naive rule has no sure end before characters of several tokens
        base, nudging = (replace(one, tokens=tuple(filter(str.isascii, TOKENS))) for one in (base, nudging))
    played = play(nudging, base, rule=rule, end=end, max_tokens=40, **{name: number})
    options: Any = {name: number, "end": end, "until": len(played.text)}
    naive: Any = {"tokens": naive_tokens, "bet": naive_bet, "blend": naive_blend}
    if rule == "words":
        expected: Any = naive_answer(base, nudging, "", "", **options)
    else:
        expected = naive[rule](NaivePair(base, nudging, "", ""), **options)
    if played.finish_reason == "length":
        assert expected.text.startswith(played.text)
    else:
        assert (played.text, played.finish_reason) == (expected.text, expected.finish_reason)


@RULES
@given(
    base=st.sampled_from([5, 1000]).flatmap(random_models),
    nudging=st.sampled_from([5, 1000]).flatmap(random_models),
    number=PROBABILITY,
    end=PROBABILITY,
    max_tokens=st.integers(1, 40),
    stop=st.lists(st.sampled_from(["it is", "is", "🌍", ". ", "\n", "s s", "éé"]), max_size=2),
    temperature=st.sampled_from([0.0, 1.0, 1e-5]),
)
def test_limits_hold_for_random_models(
    rule: str,
    base: RandomModel,
    nudging: RandomModel,
    number: float,
    end: float,
    max_tokens: int,
    stop: list[str],
    temperature: float,
) -> None:
    options: Any = {"rule": rule, "end": end, "threshold": number, "bet": number, "temperature": temperature, "seed": 3}
    played = play(nudging, base, max_tokens=max_tokens, stop=stop, **options)
    unstopped = play(nudging, base, max_tokens=max_tokens, **options)
    assert sum(piece.tokens for piece in played.pieces) <= max_tokens
    assert all(piece.text for piece in played.pieces)
    assert all(later.round - piece.round >= 0 for piece, later in pairwise(played.pieces))
    places = [at for string in stop if (at := unstopped.text.find(string)) >= 0]
    assert played.text == unstopped.text[: min(places, default=None)]
    assert played.finish_reason == ("stop" if places else unstopped.finish_reason)
