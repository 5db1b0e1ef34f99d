"""Grammars of schemas and regexes: what they accept, and what is refused."""

import json
from typing import Any

import pytest
from grammars import accepts
from jsonschema import Draft202012Validator
from nudging import GrammarError
from nudging.grammar.grammar import Grammar


@pytest.mark.parametrize(
    ("schema", "valid", "invalid"),
    [
        # llguidance alone would accept the invalid text
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5}, "0.25", "0"),
        ({"type": "number", "minimum": -1.5, "exclusiveMaximum": -1}, "-1.2", "-1"),
        (
            {"type": "number", "exclusiveMinimum": -273.15, "exclusiveMaximum": -272.15},
            "-273",
            "-272.150000000000000001",
        ),
        ({"type": "number", "exclusiveMinimum": 0}, "0.000001", "0." + "0" * 400 + "1"),
        ({"type": "number", "exclusiveMaximum": 1, "minimum": 0}, "0.99", "0." + "9" * 30),
        ({"type": "string", "pattern": '^[^"]*$'}, '"ab"', r'"a\"b"'),
        ({"type": "string", "pattern": r"^[^\\]*$"}, r'"a\nb"', r'"a\\b"'),
        ({"type": "string", "pattern": r"^[^\s]*$"}, '"ab"', r'"a\u001fb"'),
        ({"type": "string", "pattern": r"^\S+$"}, '"ab"', r'"a\u001fb"'),
        ({"type": "string", "pattern": r"^a\sb$"}, '"a b"', '"a\u0085b"'),
        ({"type": "object", "minProperties": 1, "properties": {"a": {"type": "integer"}}}, '{"a": 1}', "{}"),
        ({"type": ["string", "null"], "format": "date"}, "null", '"2023-02-30"'),
        ({"format": "date"}, '"2024-02-29"', '"2023-02-29"'),
        ({"type": "string", "format": "date", "pattern": "^20"}, '"2024-02-29"', '"1999-12-31"'),
        ({"type": "number"}, "1.5", "1e999"),
        ({"type": ["number", "null"], "minimum": 0}, "null", "9" * 400),
        ({"type": "array"}, '[{"a": [1.5, null]}]', "[1e999]"),
        ({}, '{"a": {}}', '{"a": {"b": 1e999}}'),
        # objects are closed by default
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, '{"a": 1}', '{"a": 1, "b": 2}'),
        ({"properties": {"format": {"type": "string"}, "pattern": {"type": "null"}}}, '{"pattern": null}', '{"x": 1}'),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, '{"b": 2}', '{"b": "2"}'),
        # keywords that allow everything are left out
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": False}, "[1, 1]", '["a"]'),
        ({"type": "string", "format": "decimal"}, '"so"', "7"),
        ({"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^(?!x)y$"}]}, "1.5", '"y"'),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"enum": ["a", "b c"]}}}, '"b c"', '"c"'),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "7", "null"),
    ],
)
def test_a_grammar_accepts_what_validators_accept(schema: dict[str, Any], valid: str, invalid: str) -> None:
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
        (
            {"properties": {"a": {"items": {"contains": {}}}}},
            r"the keyword 'contains' is not supported at properties.a.items",
        ),
        ({"properties": {"a": {"pattern": "^(?!x)"}}}, r"'\^\(\?!x\)' at properties.a is not supported: look-around"),
        ({"oneOf": [{"type": "string"}, {"minLength": 2}]}, "use anyOf"),
        ({"type": "string", "pattern": "^(?!x)"}, "look-around"),
        ({"type": "string", "pattern": "("}, "regex"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum"),
        ({"enum": []}, "Unsatisfiable"),
        ({"type": "object", "minProperties": 2, "properties": {"a": {}}}, "minProperties=2"),
        ({"title": "Tree", "if": {"type": "string"}, "then": {"minLength": 3}}, "the schema 'Tree'"),
    ],
)
def test_the_error_for_an_inexpressible_schema_says_why(schema: Any, reason: str) -> None:
    with pytest.raises(GrammarError, match=reason):
        Grammar.of_schema(schema)


@pytest.mark.parametrize("pattern", ["", "(", r"(a)\1", "(?=a)b", None])
def test_an_inexpressible_regex_is_refused(pattern: Any) -> None:
    with pytest.raises(GrammarError, match="regex") as refused:
        Grammar.of_regex(pattern)
    assert "start:" not in str(refused.value)
