"""Narrowed schemas: sets, typed keys and JSON within strings are always valid, and what is not supported is named."""

import json
import random
import re
from typing import Any

import pytest
from grammars import accepts, random_text
from jsonschema import Draft202012Validator
from nudging import GrammarError
from nudging.grammar.finite import MOST_ARRAYS, arrays_of, distinct
from nudging.grammar.grammar import Grammar
from nudging.tools.definitions import call_grammar, check_tools

LETTERS = {"enum": ["a", "b", "c"]}
COLOURS = {"$defs": {"Colour": {"enum": ["red", "blue"], "type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "valid", "invalid"),
    [
        ({"items": LETTERS}, ['["c", "a"]', "[]", '["a", "b", "c"]'], ['["a", "a"]', '["d"]']),
        ({"items": LETTERS, "minItems": 2, "maxItems": 2}, ['["c", "a"]'], ["[]", '["a"]', '["a", "b", "c"]']),
        ({"items": {"$ref": "#/$defs/Colour"}, **COLOURS}, ['["blue", "red"]'], ['["red", "red"]']),
        ({"items": {"type": "boolean"}}, ["[true, false]"], ["[true, true]"]),
        ({"items": {"anyOf": [LETTERS, {"type": "null"}]}}, ['[null, "a"]'], ["[null, null]"]),
        ({"items": {"type": "integer", "minimum": 1, "maximum": 3}}, ["[3, 1]"], ["[1, 1]", "[4]"]),
        ({"items": {"enum": [1, 1.0, True]}}, ["[1, true]"], ["[1, 1]", "[1, 1.0]"]),
        ({"items": {"type": "string"}}, ['["any"]', "[]"], ['["any", "any"]']),
        ({}, ['[{"a": 1}]'], ["[1, 1]"]),
        ({"items": {"type": "string"}, "minItems": 2}, ['["apple", "pear"]'], ['["apple", "apple"]', '["apple"]']),
        ({"items": {"type": "integer", "minimum": 5}, "minItems": 2}, ["[5, 105]"], ["[5, 5]", "[5]", "[4, 105]"]),
        ({"items": {"type": "integer", "maximum": 5}, "minItems": 2}, ["[-100, 5]"], ["[5, 5]", "[5, 6]"]),
    ],
)
def test_an_array_of_unique_items_has_no_item_twice(
    schema: dict[str, Any], valid: list[str], invalid: list[str]
) -> None:
    schema = {"type": "array", "uniqueItems": True, **schema}
    grammar = Grammar.of_schema(schema)
    assert [text for text in valid if not accepts(grammar, text)] == []
    assert [text for text in invalid if accepts(grammar, text)] == []
    rng = random.Random(0)
    for length in range(0, 40, 3):
        Draft202012Validator(schema).validate(json.loads(random_text(grammar, rng, length)))


def test_arrays_of_many_values_are_the_shorter_ones_in_order() -> None:
    values = [f"value {number}" for number in range(40)]
    arrays = arrays_of(values, 0, 40)
    assert [] in arrays
    assert all([value] in arrays for value in values)
    assert ["value 3", "value 7"] in arrays
    assert len(arrays) <= MOST_ARRAYS
    assert all(len(distinct(array)) == len(array) for array in arrays)
    assert {len(array) for array in arrays_of(values, 20, 40)} == {20}


@pytest.mark.parametrize(
    ("schema", "valid", "invalid"),
    [
        ({"propertyNames": LETTERS}, ['{"a": 1, "c": 2}', "{}"], ['{"d": 1}', '{"a": "x"}']),
        ({"propertyNames": {"const": "a"}}, ['{"a": 1}'], ['{"d": 1}']),
        ({"propertyNames": {"$ref": "#/$defs/Colour"}, **COLOURS}, ['{"blue": 1}'], ['{"a": 1}']),
        ({"propertyNames": LETTERS, "minProperties": 1}, ['{"a": 1}'], ["{}"]),
        ({"propertyNames": {"pattern": r"^x\d$"}}, ['{"x1": 1, "x2": 2}'], ['{"y": 1}', '{"x1": null}']),
        ({"propertyNames": {"format": "date"}}, ['{"2024-02-29": 1}'], ['{"2023-02-29": 1}']),
        ({"propertyNames": {"minLength": 2, "maxLength": 3}}, ['{"ab": 1}'], ['{"a": 1}', '{"abcd": 1}']),
        ({"propertyNames": {"type": "string"}}, ['{"any": 1}'], ["[]"]),
        ({"patternProperties": {"^x": {"type": "null"}}}, ['{"x1": null}'], ['{"x1": 1}']),
        ({"minProperties": 1}, ['{"any": 1}'], ["{}"]),
    ],
)
def test_the_keys_of_an_object_follow_their_rules(schema: dict[str, Any], valid: list[str], invalid: list[str]) -> None:
    schema = {"type": "object", "additionalProperties": {"type": "integer"}, **schema}
    grammar = Grammar.of_schema(schema)
    assert [text for text in valid if not accepts(grammar, text)] == []
    assert [text for text in invalid if accepts(grammar, text)] == []
    rng = random.Random(0)
    for length in range(0, 40, 3):
        Draft202012Validator(schema).validate(json.loads(random_text(grammar, rng, length)))


def test_declared_properties_follow_the_rules_of_names_too() -> None:
    properties = {"a": {"type": "null"}, "z": {"type": "null"}}
    for names in (LETTERS, {"pattern": "^[a-c]$"}):
        grammar = Grammar.of_schema({"type": "object", "properties": properties, "propertyNames": names})
        assert accepts(grammar, '{"a": null}')
        assert not accepts(grammar, '{"z": null}')


CONTENT = {
    "type": "object",
    "properties": {
        "day": {"type": "string", "format": "date"},
        "kinds": {"type": "array", "items": {"enum": ["a", 'say "hi"']}, "minItems": 1, "maxItems": 3},
        "pair": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}], "items": False},
        "odd": {"type": "integer", "exclusiveMinimum": 4, "multipleOf": 3},
        "below": {"type": "integer", "exclusiveMaximum": 4},
        "code": {"type": "string", "pattern": "^x[0-9]$"},
        "either": {"type": ["boolean", "null"]},
        "free": {},
        "counts": {"type": "object", "additionalProperties": {"type": "number"}, "minProperties": 1},
    },
    "required": ["day"],
}


@pytest.mark.parametrize("content", [CONTENT, {}, {"type": "array"}, {"type": "string", "minLength": 3}])
def test_json_within_a_string_is_valid(content: dict[str, Any]) -> None:
    schema = {"type": "string", "contentMediaType": "application/json", "contentSchema": content}
    grammar = Grammar.of_schema(schema)
    rng = random.Random(0)
    for length in range(0, 200, 9):
        Draft202012Validator(content).validate(json.loads(json.loads(random_text(grammar, rng, length))))


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (
            {
                "properties": {
                    "tags": {"type": "array", "uniqueItems": True, "minItems": 2, "items": {"type": "object"}}
                }
            },
            "uniqueItems at properties.tags is not supported with minItems=2",
        ),
        ({"type": "array", "uniqueItems": True, "items": LETTERS, "minItems": 4}, "uniqueItems is not supported"),
        ({"type": "array", "uniqueItems": True, "prefixItems": [LETTERS, LETTERS]}, "uniqueItems is not supported"),
        ({"items": {"propertyNames": {"not": {}}}}, "propertyNames at items is not supported in this form"),
        (
            {"$ref": "#/$defs/N", "$defs": {"N": {"properties": {"next": {"if": {}}}}}},
            re.escape("the keyword 'if' is not supported at $defs.N.properties.next"),
        ),
        (
            {
                "contentSchema": {"$ref": "#/$defs/N"},
                "$defs": {"N": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}, "required": ["n"]}},
            },
            "requires itself without end",
        ),
    ],
)
def test_what_is_not_supported_is_named_with_its_place(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(GrammarError, match=reason) as refused:
        Grammar.of_schema(schema)
    assert "\n" not in str(refused.value)
    tools = check_tools([{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": schema}}}}])
    with pytest.raises(GrammarError, match="a call of f cannot be expressed as a grammar") as refused:
        call_grammar(tools, "f", parallel=False)
    assert "start:" not in str(refused.value)


def test_a_branch_that_is_not_supported_is_left_out() -> None:
    grammar = Grammar.of_schema({"anyOf": [{"type": "string", "pattern": "^(?!x)"}, {"type": "integer"}]})
    assert accepts(grammar, "7")


@pytest.mark.parametrize("seed", range(40))
def test_a_number_keeps_within_its_bounds_whatever_its_digits(seed: int) -> None:
    rng = random.Random(seed)
    low = rng.choice([0, 0.5, -1.5, 1e-3, 36.6, -273.15, 1e6, 1e12])
    schema: dict[str, Any] = {"type": rng.choice(["number", ["number", "null"]])}
    schema[rng.choice(["exclusiveMinimum", "exclusiveMinimum", "minimum"])] = low
    if rng.random() < 0.7:
        schema[rng.choice(["exclusiveMaximum", "maximum"])] = low + rng.choice([1, 0.25, 5.5, 1e9])
    grammar = Grammar.of_schema(schema)
    for length in range(0, 40, 4):
        Draft202012Validator(schema).validate(json.loads(random_text(grammar, rng, length)))
