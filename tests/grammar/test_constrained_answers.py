"""Constrained answers: whatever the models write, the answer follows its grammar and fits into max_tokens."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator
from nudging import Answer, GrammarError, Nudger, Prompts, ScriptedModel, SettingsError
from nudging.models.base import Sampling
from nudging.models.local.model import LocalModel
from nudging.tools.definitions import optional_calls_grammar
from pydantic import BaseModel
from random_schemas import random_object_schema

WORDS = ["the", "sky", "is", "blue", "and", "so", "are", "the", "whales", "that", "go", "far", "away", "all", "day"]

PERSON = {
    "title": "Person",
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "friends": {"type": "array", "items": {"enum": ["ann", "bob"]}, "maxItems": 3},
    },
    "required": ["name", "age", "friends"],
}


class Person(BaseModel):
    name: str
    age: int


def tool(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "So.", "parameters": parameters}}


def raw(text: str) -> Prompts:
    """Return prompts without schema and tools, which would fill the small context of tiny models."""
    return Prompts(base=text, nudging=text)


@pytest.mark.parametrize("seed", range(30))
def test_an_answer_is_valid_under_any_schema_and_budget(tiny: Nudger, seed: int) -> None:
    rng = random.Random(seed)
    schema = random_object_schema(rng)
    question = raw(" ".join(rng.choices(WORDS, k=rng.randint(1, 12))))
    drawn = {"temperature": rng.choice([0.0, 0.8, 2.0]), "seed": seed, "threshold": rng.choice([0.0, 0.3, 1.0])}
    with pytest.raises(GrammarError, match=r"needs at least (\d+) tokens") as refused:
        tiny.generate(question, schema=schema, max_tokens=1, **drawn)
    least = int(str(refused.value).split("needs at least ")[1].split()[0])
    for max_tokens in [least, least + rng.randint(1, 30), least + 150]:
        tiny.hints = rng.random() < 0.5
        answer = tiny.generate(question, schema=schema, max_tokens=max_tokens, **drawn)
        Draft202012Validator(schema).validate(json.loads(answer.text))
        assert answer.usage.completion_tokens <= max_tokens


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("question", ["why is the sky blue", "who says so"])
def test_hints_change_no_constrained_answer(
    tiny_base: Path, tiny_nudging: Path, question: str, temperature: float
) -> None:
    drawn = {"schema": PERSON, "temperature": temperature, "seed": 5, "max_tokens": 120}
    with_hints, without = (Nudger(tiny_base, tiny_nudging, threshold=0.3, hints=hints) for hints in (True, False))
    assert with_hints.generate(question, **drawn).pieces == without.generate(question, **drawn).pieces


async def test_streams_and_async_calls_give_the_same_constrained_answer(tiny: Nudger) -> None:
    answer = tiny.generate("who", schema=PERSON, max_tokens=90)
    assert "".join(piece.text for piece in tiny.stream("who", schema=PERSON, max_tokens=90)) == answer.text
    assert (await tiny.agenerate("who", schema=PERSON, max_tokens=90)).pieces == answer.pieces


@pytest.mark.standard
@pytest.mark.parametrize("schema", [{"type": "object"}, {}, {"type": "array", "uniqueItems": True}])
def test_the_real_pair_answers_under_a_schema_that_allows_almost_everything(
    demo: Nudger, schema: dict[str, Any]
) -> None:
    for question in ("Say hi", "Give me JSON about cats"):
        answer = demo.generate(question, schema=schema, max_tokens=24)
        Draft202012Validator(schema).validate(json.loads(answer.text))


def test_a_grammar_does_not_change_later_answers_without_one(tiny: Nudger) -> None:
    before = tiny.generate("why is the sky blue").pieces
    tiny.generate("why is the sky blue", schema=PERSON, max_tokens=90)
    assert tiny.generate("why is the sky blue").pieces == before


def test_forced_tokens_cost_no_forward_pass(tiny: Nudger) -> None:
    answer = tiny.generate("why", schema={"const": "the only possible answer"})
    assert answer.text == '"the only possible answer"'
    assert answer.usage.base.forward_passes == answer.usage.nudging.forward_passes == 0


def test_a_pydantic_model_is_a_schema(tiny: Nudger) -> None:
    Person.model_validate_json(tiny.generate("who", schema=Person, max_tokens=60).text)


@pytest.mark.parametrize("regex", [r"[0-9]{4}-[0-9]{2}", "yes|no|maybe so", r"([a-z]+ ){3}[a-z]+\."])
def test_an_answer_matches_its_regex(tiny: Nudger, regex: str) -> None:
    for seed in range(5):
        answer = tiny.generate("when", regex=regex, temperature=1.5, seed=seed, max_tokens=40)
        assert re.fullmatch(regex, answer.text)


def test_stop_strings_do_not_cut_a_constrained_answer(tiny: Nudger) -> None:
    answer = tiny.generate("who", schema=PERSON, max_tokens=90, stop=['"', "}"])
    assert answer.pieces == tiny.generate("who", schema=PERSON, max_tokens=90).pieces


def test_the_schema_is_added_to_both_prompts_but_not_to_rendered_ones(tiny: Nudger) -> None:
    prompts = tiny.prompts("who", schema=PERSON)
    assert json.dumps(PERSON) in prompts.base
    assert json.dumps(PERSON) in prompts.nudging
    raw = Prompts(base="a", nudging="b")
    assert tiny.prompts(raw, schema=PERSON) == raw


@pytest.mark.parametrize("seed", range(10))
def test_a_required_call_is_valid(tiny: Nudger, seed: int) -> None:
    tools = [tool("whale.find", PERSON), tool("sky", {"type": "object", "properties": {}})]
    for choice, possible in [("any", {"whale.find", "sky"}), ("whale.find", {"whale.find"}), ("sky", {"sky"})]:
        answer = tiny.generate(raw("who"), tools=tools, tool_choice=choice, temperature=1.5, seed=seed, max_tokens=120)
        (call,) = answer.tool_calls
        assert call.name in possible
        assert answer.content == ""
        if call.name == "whale.find":
            Draft202012Validator(PERSON).validate(call.arguments)


CALL_LIKE = {
    "type": "object",
    "properties": {"name": {"enum": ["sky", "sea"]}, "arguments": {"type": "object", "properties": {}}},
    "required": ["name", "arguments"],
}
SKY = tool("sky", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})


@pytest.mark.parametrize("seed", range(20))
def test_with_tools_and_a_schema_the_answer_is_calls_or_json(tiny: Nudger, seed: int) -> None:
    drawn = {"temperature": 2.0, "seed": seed, "max_tokens": 40 + 3 * seed}
    stream = tiny.stream(raw("who"), schema=CALL_LIKE, tools=[SKY], **drawn)
    shown = ""
    for _ in stream:
        assert stream.partial.content.startswith(shown)
        shown = stream.partial.content
    answer = stream.answer
    assert bool(answer.content) != bool(answer.tool_calls)
    assert not answer.invalid_tool_calls
    assert shown == answer.content
    assert [json.loads(call.arguments) for call in stream.partial.tool_calls] == [
        call.arguments for call in answer.tool_calls
    ]
    for call in answer.tool_calls:
        assert call.name == "sky"
        assert isinstance(call.arguments["a"], int)
    if answer.content:
        Draft202012Validator(CALL_LIKE).validate(json.loads(answer.content))


def scripted(text: str, **options: Any) -> Answer:
    model = ScriptedModel(text)
    return Nudger(model, model).generate("Hi", schema=CALL_LIKE, tools=[SKY], **options)


CALL = '<tool_call>\n{"name": "sky", "arguments": {"a": 5}}\n</tool_call>'


def test_calls_and_json_are_told_apart_by_the_tag() -> None:
    answer = scripted(f"{CALL}\n{CALL}")
    assert [call.arguments for call in answer.tool_calls] == [{"a": 5}, {"a": 5}]
    assert answer.content == ""
    assert len(scripted(f"{CALL}\n{CALL}", parallel_tool_calls=False).tool_calls) == 1
    like_a_call = '{"name": "sky", "arguments": {}}'
    assert scripted(like_a_call).content == like_a_call
    assert not scripted(like_a_call).tool_calls


def test_a_cut_call_is_completed() -> None:
    (call,) = scripted(CALL[:25]).tool_calls
    assert call.name == "sky"
    assert isinstance(call.arguments["a"], int)


def test_the_tool_choice_decides_between_calls_and_json(tiny: Nudger) -> None:
    for choice in ("required", "sky"):
        answer = tiny.generate(raw("who"), schema=CALL_LIKE, tools=[SKY], tool_choice=choice)
        assert [call.name for call in answer.tool_calls] == ["sky"]
    answer = tiny.generate(raw("who"), schema=CALL_LIKE, tools=[SKY], tool_choice="none")
    Draft202012Validator(CALL_LIKE).validate(json.loads(answer.content))


def test_both_prompts_tell_of_the_tools_and_the_schema(tiny: Nudger) -> None:
    prompts = tiny.prompts("who", schema=PERSON, tools=[SKY])
    for prompt in (prompts.base, prompts.nudging):
        assert json.dumps(PERSON) in prompt
        assert json.dumps(SKY) in prompt
    assert json.dumps(PERSON) not in tiny.prompts("who", schema=PERSON, tools=[SKY], tool_choice="required").base


@pytest.mark.parametrize("seed", range(4))
def test_an_optional_call_follows_its_schema_once_it_is_started(tiny: Nudger, tiny_nudging: Path, seed: int) -> None:
    model = LocalModel(tiny_nudging)
    grammar = optional_calls_grammar([tool("sky", PERSON), tool("odd", {"not": {}})])
    assert grammar is not None
    session = model.session("the sky", author="nudging", sampling=Sampling(1.0, 1.0, str(seed)), grammar=grammar)
    start = 'Well: {"name": "sky"'
    text = start + "".join(step.text for step in session.steps(start, 300))
    assert text.startswith(start + ', "arguments": {"name": "')
    assert [*session.steps('"name": "odd"', 3)]
    # the other model may have written text outside of the grammar
    assert [*session.steps('"name": "sky" is not a call', 3)]


def test_tools_are_left_out_of_the_prompts_if_none_may_be_called(tiny: Nudger) -> None:
    assert tiny.prompts("who", tools=[tool("sky", PERSON)], tool_choice="none") == tiny.prompts("who")
    assert "sky" in tiny.prompts("who", tools=[tool("sky", PERSON)]).base


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"schema": PERSON, "regex": "a"}, "schema and regex exclude each other"),
        ({"regex": "a", "tools": [tool("sky", PERSON)]}, "regex and tools exclude each other"),
        ({"schema": {"not": {}}, "tools": [tool("sky", PERSON)]}, "the keyword 'not' is not supported"),
        ({"schema": PERSON, "tools": [tool("sky", {"not": {}})]}, "a call of sky cannot be expressed"),
        ({"tools": [tool("sky", PERSON)], "tool_choice": "sea"}, "there is no such tool"),
        ({"tool_choice": "any"}, "without tools"),
        ({"tools": [tool("sky", {"not": {}})], "tool_choice": "any"}, "a call of sky cannot be expressed"),
        ({"regex": "("}, "cannot be expressed"),
    ],
)
def test_impossible_options_are_refused_before_a_model_is_loaded(
    tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    nudger = Nudger(tmp_path / "nowhere", tmp_path / "nowhere")
    for ask in (nudger.generate, nudger.stream, nudger.astream):
        with pytest.raises(GrammarError, match=reason):
            ask("Hi", **options)
    with pytest.raises(SettingsError, match="no setting 'grammar'"):
        nudger.generate("Hi", grammar="x")  # type: ignore[call-arg]


def test_an_endless_schema_is_refused(tiny: Nudger) -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/N"}}, "required": ["next"]}
    with pytest.raises(GrammarError, match="no complete answer was found"):
        tiny.generate("who", schema={"$ref": "#/$defs/N", "$defs": {"N": node}})


def test_a_script_that_leaves_the_grammar_is_completed() -> None:
    model = ScriptedModel('{"name": "Ann", "age": forty}')
    answer = Nudger(model, model).generate("who", schema=PERSON)
    assert json.loads(answer.text) == {"name": "Ann", "age": 0, "friends": []}
    assert answer.finish_reason == "length"


def test_logprobs_are_those_of_the_base_model_for_every_token(tiny_base: Path, tiny_nudging: Path) -> None:
    base = LocalModel(tiny_base)
    nudger = Nudger(base, LocalModel(tiny_nudging), threshold=0.3, max_tokens=30, logprobs=True)
    answer = nudger.generate("你好 why is the sky blue")
    assert answer.logprobs is not None
    assert "".join(token.token for token in answer.logprobs) == answer.text
    prompt = base.tokenizer.encode(nudger.prompts("你好 why is the sky blue").base, special_tokens=True)
    whole = base.tokenizer.encode(nudger.prompts("你好 why is the sky blue").base + answer.text, special_tokens=True)
    with torch.inference_mode():
        logits = base.weights.load()(torch.tensor([whole])).logits[0]
    expected = [float(logits[i - 1].log_softmax(-1)[whole[i]]) for i in range(len(prompt), len(whole))]
    assert [token.logprob for token in answer.logprobs] == pytest.approx(expected, abs=1e-4)
    assert nudger.generate("你好 why is the sky blue", logprobs=False).logprobs is None
