"""What an answer may be: which schemas can be, what is narrowed, and that every beginning can be completed in time."""

import json
import random
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from llguidance import LLMatcher
from nudging import GrammarError
from nudging.grammar.completion import BYTES, Completer
from nudging.grammar.grammar import Grammar
from pydantic import BaseModel
from random_schemas import random_schema


def accepts(grammar: Grammar, text: str) -> bool:
    matcher = LLMatcher(BYTES, grammar.source, log_level=0)
    written = text.encode()
    return matcher.try_consume_tokens(list(written)) == len(written) and bool(matcher.is_accepting())


def random_walk(grammar: Grammar, rng: random.Random, length: int) -> str:
    """A beginning that the grammar permits, byte by byte, of whole characters."""
    matcher, written = LLMatcher(BYTES, grammar.source, log_level=0), b""
    while len(written) < length and not matcher.is_stopped():
        mask = int.from_bytes(matcher.compute_bitmask(), "little")
        permitted = [byte for byte in range(256) if mask >> byte & 1]
        if not permitted:
            break
        byte = rng.choice([byte for byte in permitted if 32 <= byte < 127] or permitted)
        matcher.consume_token(byte)
        written += bytes([byte])
    return written.decode(errors="ignore")


@pytest.mark.parametrize("seed", range(150))
def test_whatever_is_written_can_be_completed_and_is_valid_then(seed: int) -> None:
    rng = random.Random(seed)
    schema = random_schema(rng)
    grammar = Grammar.of_schema(schema)
    completer = Completer(grammar)
    for length in [0, 4, 20, 80]:
        begun = random_walk(grammar, rng, length)
        end = completer.complete(begun)
        assert end is not None, (schema, begun)
        Draft202012Validator(schema).validate(json.loads(begun + end))


@pytest.mark.parametrize(
    ("schema", "valid", "invalid"),
    [
        # what llguidance takes too widely
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5}, "0.25", "0"),
        ({"type": "number", "minimum": -1.5, "exclusiveMaximum": -1}, "-1.2", "-1"),
        ({"type": "string", "pattern": '^[^"]*$'}, '"ab"', r'"a\"b"'),
        ({"type": "string", "pattern": r"^[^\\]*$"}, r'"a\nb"', r'"a\\b"'),
        ({"type": "string", "pattern": r"^[^\s]*$"}, '"ab"', r'"a\u001fb"'),
        ({"type": "string", "pattern": r"^\S+$"}, '"ab"', r'"a\u001fb"'),
        ({"type": "string", "pattern": r"^a\sb$"}, '"a b"', '"a\u0085b"'),
        ({"type": "object", "minProperties": 1, "properties": {"a": {"type": "integer"}}}, '{"a": 1}', "{}"),
        # objects are closed unless they say otherwise
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, '{"a": 1}', '{"a": 1, "b": 2}'),
        ({"properties": {"format": {"type": "string"}, "pattern": {"type": "null"}}}, '{"pattern": null}', '{"x": 1}'),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, '{"b": 2}', '{"b": "2"}'),
        # what says nothing is left out
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": False}, "[1, 1]", '["a"]'),
        ({"type": "string", "format": "decimal"}, '"so"', "7"),
        ({"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^(?!x)y$"}]}, "1.5", '"y"'),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"enum": ["a", "b c"]}}}, '"b c"', '"c"'),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "7", "null"),
    ],
)
def test_a_schema_means_what_validators_take_it_for(schema: dict[str, Any], valid: str, invalid: str) -> None:
    grammar = Grammar.of_schema(schema)
    assert accepts(grammar, valid)
    assert not accepts(grammar, invalid)
    assert Draft202012Validator(schema).is_valid(json.loads(valid))


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ("a schema", "give a JSON schema"),
        ({"type": "string", "default": object()}, "the schema is not JSON"),
        ({"type": "strnig"}, "Invalid type: strnig"),
        ({"not": {"type": "string"}}, "not"),
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, "uniqueItems"),
        ({"type": "string", "pattern": "^(?!x)"}, "look-around"),
        ({"type": "string", "pattern": "("}, "regex"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum"),
        ({"enum": []}, "Unsatisfiable"),
        ({"type": "object", "minProperties": 2, "properties": {"a": {}}}, "minProperties=2"),
        ({"title": "Tree", "if": {"type": "string"}, "then": {"minLength": 3}}, "the schema 'Tree'"),
    ],
)
def test_a_schema_that_cannot_be_is_refused_with_the_reason(schema: Any, reason: str) -> None:
    with pytest.raises(GrammarError, match=reason):
        Grammar.of_schema(schema)


@pytest.mark.parametrize("pattern", ["", "(", r"(a)\1", "(?=a)b", None])
def test_a_regex_that_cannot_be_is_refused(pattern: Any) -> None:
    with pytest.raises(GrammarError, match="regex"):
        Grammar.of_regex(pattern)


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
def test_a_regex_is_completed_from_anywhere(pattern: str) -> None:
    rng = random.Random(pattern)
    grammar = Grammar.of_regex(pattern)
    completer = Completer(grammar)
    for length in [0, 1, 2, 3, 5, 8]:
        begun = random_walk(grammar, rng, length)
        end = completer.complete(begun)
        assert end is not None
        assert accepts(grammar, begun + end)


def test_what_never_ends_has_no_closing() -> None:
    endless = {
        "$ref": "#/$defs/N",
        "$defs": {"N": {"properties": {"next": {"$ref": "#/$defs/N"}}, "required": ["next"]}},
    }
    endless["$defs"]["N"]["type"] = "object"  # type: ignore[index]
    assert Completer(Grammar.of_schema(endless)).complete("") is None


def test_what_the_grammar_does_not_permit_has_no_closing() -> None:
    completer = Completer(Grammar.of_schema({"type": "integer"}))
    assert completer.complete("seven") is None
    assert completer.complete("7") == ""


class Node(BaseModel):
    value: int
    children: list["Node"] = []


def test_a_pydantic_model_that_holds_itself_can_be_completed() -> None:
    end = Completer(Grammar.of_schema(Node)).complete('{"value": 1, "children": [{"value": 2, "children": [{"val')
    assert end is not None
    Node.model_validate_json('{"value": 1, "children": [{"value": 2, "children": [{"val' + end)
