"""Completions: every start of an answer that a grammar allows can be completed."""

import json
import random

import pytest
from grammars import accepts, random_start
from jsonschema import Draft202012Validator
from nudging.grammar.completion import Completer
from nudging.grammar.grammar import Grammar
from pydantic import BaseModel
from random_schemas import random_schema


@pytest.mark.parametrize("seed", range(150))
def test_any_start_of_an_answer_can_be_completed_to_a_valid_one(seed: int) -> None:
    rng = random.Random(seed)
    schema = random_schema(rng)
    grammar = Grammar.of_schema(schema)
    completer = Completer(grammar)
    for length in [0, 4, 20, 80]:
        start = random_start(grammar, rng, length)
        end = completer.complete(start)
        assert end is not None, (schema, start)
        Draft202012Validator(schema).validate(json.loads(start + end))


@pytest.mark.parametrize(
    "pattern",
    [
        r"\d{4}-\d{2}-\d{2}",
        "yes|no",
        r"[A-Z][a-z]+( [A-Z][a-z]+)*",
        "a/b",
        r"(ab|cde){3,}x",
        r"[^\d]{5}",
        r"\w+@\w+\.\w{2}",
    ],
)
def test_any_start_of_a_regex_match_can_be_completed(pattern: str) -> None:
    rng = random.Random(pattern)
    grammar = Grammar.of_regex(pattern)
    completer = Completer(grammar)
    for length in [0, 1, 2, 3, 5, 8]:
        start = random_start(grammar, rng, length)
        end = completer.complete(start)
        assert end is not None
        assert accepts(grammar, start + end)


def test_an_endless_schema_has_no_completion() -> None:
    endless = {
        "$ref": "#/$defs/N",
        "$defs": {"N": {"properties": {"next": {"$ref": "#/$defs/N"}}, "required": ["next"]}},
    }
    endless["$defs"]["N"]["type"] = "object"  # type: ignore[index]
    assert Completer(Grammar.of_schema(endless)).complete("") is None


def test_text_outside_of_the_grammar_has_no_completion() -> None:
    completer = Completer(Grammar.of_schema({"type": "integer"}))
    assert completer.complete("seven") is None
    assert completer.complete("7") == ""


class Node(BaseModel):
    value: int
    children: list["Node"] = []


def test_a_recursive_pydantic_model_can_be_completed() -> None:
    end = Completer(Grammar.of_schema(Node)).complete('{"value": 1, "children": [{"value": 2, "children": [{"val')
    assert end is not None
    Node.model_validate_json('{"value": 1, "children": [{"value": 2, "children": [{"val' + end)
