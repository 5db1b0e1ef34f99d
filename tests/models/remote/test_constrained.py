"""Answers of servers under a grammar are valid, whatever the server writes and lists. No server is needed for that."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from grammars import accepts
from jsonschema import Draft202012Validator
from nudging.errors import GrammarError
from nudging.grammar.grammar import Grammar
from nudging.models.remote.constrained import Constrained
from nudging.models.remote.plans import Open
from nudging.step import Alternative, Step
from random_schemas import random_schema

Decode = Callable[[Open], Iterator[Step]]

TOKENS = [*'{}[]"-\\aé', '": ', ", ", "name", " the", "12", ".5", "true", "null", '"}', "日本"]


def run(plan: Any, decode: Decode) -> tuple[list[Step], list[Open]]:
    """Return the steps of a plan, and the requests that it makes."""
    steps: list[Step] = []
    opened: list[Open] = []
    stream: Iterator[Step] = iter(())
    reply: Step | None = None
    while True:
        try:
            action = plan.send(reply)
        except StopIteration:
            return steps, opened
        reply = None
        if isinstance(action, Step):
            steps.append(action)
        else:
            if isinstance(action, Open):
                opened.append(action)
                stream = iter([step for _, step in zip(range(action.limit), decode(action), strict=False)])
            reply = next(stream, None)


def count(text: str) -> int:
    """Return a number of tokens: one for each four characters."""
    return -(-len(text) // 4)


def whole_answer(grammar: Grammar, decode: Decode, *, can_choose_first: bool = False) -> tuple[str, list[Open]]:
    """Return an answer of as many calls as it takes, 16 steps each, and the requests."""
    constrained = Constrained(grammar, can_choose_first, count)
    text, requests = "", list[Open]()
    while len(text) < 3000:
        steps, opened = run(constrained.steps(text, 16), decode)
        assert len(steps) <= 16
        requests += opened
        text += "".join(step.text for step in steps)
        if steps[-1].end:
            return text, requests
    return text, requests


def babbling(rng: random.Random, end: float) -> Decode:
    """Return a server that writes and lists random tokens, and sometimes ends its turn."""

    def decode(opened: Open) -> Iterator[Step]:
        while True:
            listed = tuple(Alternative(token, 0.1) for token in rng.sample(TOKENS, rng.choice([0, 3, 12])))
            if opened.first:
                yield Step(rng.choice(TOKENS), 0.2)  # a server that does not keep to it
            elif rng.random() < end:
                yield Step("", 0.5, end=True, alternatives=listed)
                return
            else:
                yield Step(rng.choice(["", *TOKENS]), 0.5, alternatives=listed)

    return decode


@pytest.mark.parametrize("can_choose_first", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_a_server_that_writes_anything_stays_within_the_schema(seed: int, can_choose_first: bool) -> None:
    rng = random.Random(seed)
    schema = random_schema(rng)
    grammar = Grammar.of_schema(schema)
    text, _ = whole_answer(grammar, babbling(rng, 0.2), can_choose_first=can_choose_first)
    if len(text) < 3000:
        assert accepts(grammar, text)
        Draft202012Validator(schema).validate(json.loads(text))


def scripted(text: str, length: int = 5) -> Decode:
    """Return a server that writes this text in tokens of `length` characters, from wherever it is asked to go on."""

    def decode(opened: Open) -> Iterator[Step]:
        rest = text.removeprefix(opened.text)
        for start in range(0, len(rest), length):
            yield Step(rest[start : start + length], 0.9)
        yield Step("", 0.9, end=True)

    return decode


SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "integer"}, "is_capital": {"type": "boolean"}},
    "required": ["city", "population", "is_capital"],
    "additionalProperties": False,
}
VALID = '{"city": "Paris", "population": 2100000, "is_capital": true}'


@pytest.mark.parametrize("length", [1, 3, 7, 100])
def test_an_answer_that_is_valid_anyway_takes_one_request_per_call(length: int) -> None:
    text, requests = whole_answer(Grammar.of_schema(SCHEMA), scripted(VALID, length))
    assert text == VALID
    assert len(requests) <= 1 + len(VALID) // (16 * length)


def test_forced_text_costs_no_request() -> None:
    grammar = Grammar.of_schema({"const": {"name": "Ada", "born": 1815}})

    def decode(opened: Open) -> Iterator[Step]:
        raise AssertionError(opened)

    assert whole_answer(grammar, decode) == ('{"name": "Ada", "born": 1815}', [])


def test_the_most_probable_token_that_is_listed_and_allowed_stands_instead() -> None:
    listed = [("Sure", 0.5), ("<|im_end|>", 0.2), ("yes!", 0.1), ("no", 0.08), ("yes", 0.05)]

    def decode(opened: Open) -> Iterator[Step]:
        yield Step("Sure", 0.5, alternatives=tuple(Alternative(*one) for one in listed))

    steps, opened = run(Constrained(Grammar.of_regex("yes|no"), True, count).steps("", 16), decode)
    assert [(step.text, step.probability, step.end) for step in steps] == [("no", 0.08, False), ("", 1.0, True)]
    assert len(opened) == 1


def test_else_the_server_chooses_among_the_allowed_characters() -> None:
    def decode(opened: Open) -> Iterator[Step]:
        yield Step("no way", 0.3) if opened.first else Step("Sure", 0.5)

    steps, opened = run(Constrained(Grammar.of_regex("yes|no"), True, count).steps("", 16), decode)
    assert [step.text for step in steps] == ["no", ""]
    assert [one.first for one in opened] == [None, r"[\x6e\x79]"]


def test_else_the_start_of_the_token_stands() -> None:
    def decode(opened: Open) -> Iterator[Step]:
        yield Step("yellow", 0.5)

    steps, _ = run(Constrained(Grammar.of_regex("yes|no"), False, count).steps("", 16), decode)
    assert "".join(step.text for step in steps) == "yes"


def test_an_answer_ends_where_it_is_complete_and_the_server_leaves_the_grammar() -> None:
    steps, _ = run(Constrained(Grammar.of_regex(r"\d+"), True, count).steps("", 16), scripted("42 apples", 2))
    assert [(step.text, step.end) for step in steps] == [("42", False), ("", True)]


def test_a_full_context_ends_the_steps() -> None:
    steps, _ = run(Constrained(Grammar.of_schema(SCHEMA), True, count).steps('{"city": "', 16), lambda _: iter(()))
    assert steps == []


def test_a_character_of_several_tokens_is_checked_when_it_is_whole() -> None:
    def decode(opened: Open) -> Iterator[Step]:
        yield from [Step("", 0.5), Step("", 0.5), Step("é", 0.5), Step('"', 0.5)]

    steps, _ = run(Constrained(Grammar.of_schema({"type": "string"}), True, count).steps('"', 4), decode)
    assert [step.text for step in steps] == ["", "", "é", '"']


def test_a_text_outside_of_the_grammar_is_refused() -> None:
    with pytest.raises(GrammarError, match="the regex"):
        run(Constrained(Grammar.of_regex("yes|no"), True, count).steps("maybe", 16), scripted(""))


def test_an_optional_call_is_constrained_and_other_text_is_free() -> None:
    from nudging.tools.definitions import optional_calls_grammar

    parameters = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tools = [{"type": "function", "function": {"name": "add", "parameters": parameters}}]
    grammar = optional_calls_grammar(tools)
    assert grammar is not None
    text, _ = whole_answer(grammar, scripted("The sky is blue."))
    assert text == "The sky is blue."
    text, _ = whole_answer(grammar, scripted('{"name": "add", "arguments": {"n": "many"}}', 1))
    call = json.loads(text[: text.index("}}") + 2])
    assert isinstance(call["arguments"]["n"], int)
