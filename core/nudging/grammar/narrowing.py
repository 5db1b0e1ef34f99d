"""Narrow a JSON schema to one that llguidance expresses and that allows only values which validators accept.

JSON that is valid under the narrowed schema is valid under the original too. Some valid JSON is left out.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, ulp
from string import ascii_lowercase
from typing import Any

from nudging.errors import GrammarError
from nudging.grammar.finite import arrays_of, distinct, range_of
from nudging.grammar.formats import REPLACED_PATTERNS, Format, format_named
from nudging.grammar.json_text import LARGEST_NUMBER, text_pattern
from nudging.grammar.patterns import example_match, portable

SEPARATORS = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}
"""JSON has the separators of Python's `json.dumps`. Fixed separators are forced tokens: they cost no forward pass."""

DATA = {"const", "enum", "default", "examples", "required", "discriminator"}
"""Keywords whose value contains no schemas."""

NAMED_SCHEMAS = {"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"}
"""Keywords whose value maps names to schemas. A name may look like a keyword."""

MERGED = {"allOf", "anyOf", "oneOf", "$ref", "minProperties", "unevaluatedProperties"}
"""With one of these keywords, an object's properties may be declared elsewhere too."""

ANY_VALUE = {"$ref": "#/$defs/any_value"}
"""Any JSON value, without numbers that are infinite. `guided_schema` adds the definition."""

FLOAT_DIGITS = 15
"""The number of digits that a float can tell apart."""

DECIMAL_PLACES = 9
"""The maximum number of decimal places of a number with an exclusive bound."""

ANNOTATIONS = {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment"}
"""Keywords that allow everything."""

REWRITTEN = {"format", "uniqueItems", "propertyNames", "contentMediaType", "contentSchema", "contentEncoding"}
"""Keywords that are replaced by others, or left out if they allow everything."""


@dataclass(frozen=True)
class Guided:
    """A schema for llguidance.

    Args:
        schema: The narrowed schema.
        examples: Short matches of the patterns in it.
    """

    schema: dict[str, Any]
    examples: tuple[str, ...]


def guided_schema(schema: Mapping[str, Any]) -> Guided:
    """Return the narrowed schema.

    Raises:
        GrammarError: A keyword is not supported. The message names it and its place.
    """
    narrowing = _Narrowing(schema)
    narrowed = narrowing.narrowed(dict(schema), "")
    definitions = {**narrowed.get("$defs", {}), "any_value": _any_value()}
    return Guided(
        {**narrowed, "$defs": definitions, "x-guidance": SEPARATORS}, tuple(dict.fromkeys(narrowing.examples))
    )


def located(place: str) -> str:
    """Return where a part of a schema is, for messages, for example " at properties.name"."""
    return f" at {place}" if place else ""


def subschemas(schema: Any, place: str = "") -> list[tuple[str, Any]]:
    """Return the schemas directly within a schema, each with its place."""
    if isinstance(schema, Sequence) and not isinstance(schema, str):
        return [(_join(place, number), item) for number, item in enumerate(schema)]
    found = []
    for key, value in schema.items() if isinstance(schema, Mapping) else ():
        if key in NAMED_SCHEMAS or isinstance(value, list):
            found += [] if key in DATA else [(_join(place, key, name), one) for name, one in _items(value)]
        elif key not in DATA and isinstance(value, Mapping):
            found.append((_join(place, key), value))
    return found


class _Narrowing:
    """The narrowing of one document.

    Args:
        document: The whole schema, which `$ref`s refer to.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._closed = "allOf" not in _keywords(document)  # objects have no undeclared properties
        self.examples: list[str] = []

    def narrowed(self, schema: Any, place: str) -> Any:
        """Return the narrowed schema. Anything else than a schema or a list of schemas is returned unchanged."""
        if isinstance(schema, list):
            return [self.narrowed(item, _join(place, number)) for number, item in enumerate(schema)]
        if not isinstance(schema, Mapping):
            return schema
        schema = self._with_named_keys(schema, place)
        if schema.get("uniqueItems"):
            schema = self._with_unique_items(schema, place)
        narrowed = {
            key: self._narrowed_value(key, value, place) for key, value in schema.items() if key not in REWRITTEN
        }
        if self._closed and {"properties", "patternProperties"} & set(schema) and not MERGED & set(schema):
            narrowed.setdefault("additionalProperties", False)
        if "discriminator" in narrowed and "oneOf" in narrowed:
            narrowed.pop("discriminator")
            narrowed["anyOf"] = narrowed.pop("oneOf")  # a discriminator keeps the branches apart
        narrowed |= self._string_rules(schema, place) | _finite(schema) | _exclusive_bounds(schema)
        narrowed |= _named_properties(schema, place)
        return _with_any_values(narrowed) if self._closed else narrowed

    def _narrowed_value(self, key: str, value: Any, place: str) -> Any:
        if key in DATA:
            return value
        if key in NAMED_SCHEMAS and isinstance(value, Mapping):
            return {name: self.narrowed(one, _join(place, key, name)) for name, one in value.items()}
        if key == "anyOf" and isinstance(value, list):
            return self._branches(value, _join(place, key))
        return self.narrowed(value, _join(place, key))

    def _branches(self, branches: list[Any], place: str) -> list[Any]:
        """Return the branches that can be expressed. If there are none, raise the first one's error."""
        results = [self._narrowed_or_error(branch, _join(place, number)) for number, branch in enumerate(branches)]
        kept = [result for result in results if not isinstance(result, GrammarError)]
        if results and not kept:
            raise results[0]
        return kept

    def _narrowed_or_error(self, schema: Any, place: str) -> Any:
        try:
            return self.narrowed(schema, place)
        except GrammarError as error:
            return error

    def _string_rules(self, schema: Mapping[str, Any], place: str) -> dict[str, Any]:
        """Return the pattern that replaces a string's format, pattern or content."""
        pattern, name = schema.get("pattern"), schema.get("format")
        form = format_named(name) if isinstance(name, str) else None
        if "contentSchema" in schema or schema.get("contentMediaType") == "application/json":
            content = self.narrowed(schema.get("contentSchema", {}), _join(place, "contentSchema"))
            text = text_pattern(content, self._narrowed_reference)
            form = Format(text, example_match(text))
        if isinstance(pattern, str):
            replaced = REPLACED_PATTERNS.get(pattern)
            if replaced is None:
                return self._own_pattern(pattern, form, place)
            form = replaced
        return self._pattern_of(form) if form and "string" in (_kinds(schema) or ["string"]) else {}

    def _own_pattern(self, pattern: str, form: Format | None, place: str) -> dict[str, Any]:
        if problem := pattern_problem(pattern):
            raise GrammarError(f"the regex {pattern!r}{located(place)} is not supported: {problem}")
        self.examples.append(example_match(pattern))
        narrower = {"pattern": portable(pattern)}
        if form is None or "://" in form.example:  # a pattern of URLs has its own schemes
            return narrower
        return {**narrower, "allOf": [self._pattern_of(form)]}

    def _pattern_of(self, form: Format) -> dict[str, Any]:
        self.examples.append(form.example)
        return {"pattern": f"^(?:{form.pattern})$"}

    def _with_named_keys(self, schema: Mapping[str, Any], place: str) -> Mapping[str, Any]:
        """Return an object's schema with `properties` or `patternProperties` in place of `propertyNames`."""
        names = self._resolved(schema.get("propertyNames", {}))
        if names is True or not names or names == {"type": "string"}:
            return schema
        declared, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        rest = {key: value for key, value in schema.items() if key not in ("propertyNames", "properties")}
        if (values := self._values(names)) is not None:
            allowed = [value for value in values if isinstance(value, str)]
            named = {name: one for name, one in declared.items() if name in allowed}
            named |= {name: others for name in allowed if name not in named and others is not False}
            return {**rest, "type": "object", "properties": named, "additionalProperties": False}
        if "patternProperties" in schema and "format" in names:  # pydantic has a pattern of its URLs, which implies it
            return {**rest, "additionalProperties": False}
        pattern = self._key_pattern(names)
        if pattern is None or "patternProperties" in schema:
            raise GrammarError(
                f"propertyNames{located(place)} is not supported in this form: give an enum, a pattern, a format or "
                "a length"
            )
        if declared:
            named = {name: one for name, one in declared.items() if re.search(pattern, name)}
            return {**rest, "properties": named, "additionalProperties": False}
        return {**rest, "type": "object", "patternProperties": {pattern: others}, "additionalProperties": False}

    def _key_pattern(self, names: Mapping[str, Any]) -> str | None:
        """Return the pattern of an object's keys, or None if there is none for these rules."""
        if isinstance(names.get("pattern"), str):
            return str(names["pattern"])
        if (form := format_named(str(names.get("format")))) is not None:
            self.examples.append(form.example)
            return f"^(?:{form.pattern})$"
        if {"minLength", "maxLength"} & set(names):
            return f"^[A-Za-z0-9_ .-]{{{names.get('minLength', 0)},{names.get('maxLength', '')}}}$"
        return None

    def _with_unique_items(self, schema: Mapping[str, Any], place: str) -> Mapping[str, Any]:
        """Return an array's schema whose arrays never have two equal items."""
        rest = {key: value for key, value in schema.items() if key != "uniqueItems"}
        least, most = schema.get("minItems", 0), schema.get("maxItems", 2**32)
        if most <= 1 or schema.get("items") is False:
            return rest
        if "prefixItems" not in schema:
            items = self._resolved(schema.get("items", True))
            values = self._values(items)
            if values is not None and least <= len(values):
                return {"enum": arrays_of(values, least, most)}
            if values is None and least <= 1:
                return {**rest, "maxItems": 1}
            if values is None and (parts := _disjoint(items, least)):
                return {"type": "array", "prefixItems": parts, "items": False, "minItems": least, "maxItems": least}
        raise GrammarError(
            f"uniqueItems{located(place)} is not supported with minItems={least} of these items: give an enum of as "
            "many values, or plain strings or integers"
        )

    def _values(self, schema: Any) -> list[Any] | None:
        """Return all values that a schema allows, or None if they are many."""
        schema = self._resolved(schema)
        if not isinstance(schema, Mapping):
            return None
        if "const" in schema:
            return [schema["const"]]
        if isinstance(schema.get("enum"), list):
            return distinct(schema["enum"])
        if isinstance(schema.get("anyOf"), list):
            branches = [self._values(branch) for branch in schema["anyOf"]]
            return None if None in branches else distinct(value for branch in branches for value in branch or ())
        kinds: dict[str, Any] = {"boolean": [False, True], "null": [None], "integer": range_of(dict(schema))}
        return kinds.get(str(schema.get("type")))

    def _narrowed_reference(self, schema: Any) -> Any:
        """Return the narrowed schema that a local `$ref` names. A schema without one is returned unchanged."""
        if schema == ANY_VALUE:
            return True
        target = self._resolved(schema)
        return schema if target is schema else self.narrowed(target, str(schema["$ref"]).removeprefix("#/"))

    def _resolved(self, schema: Any) -> Any:
        """Return the schema that a local `$ref` names. A schema without one is returned unchanged."""
        seen = 0
        while (
            isinstance(schema, Mapping) and re.match("#(/|$)", reference := str(schema.get("$ref", ""))) and seen < 16
        ):
            target: Any = self._document
            for part in filter(None, reference[1:].split("/")):
                name = part.replace("~1", "/").replace("~0", "~")
                if not isinstance(target, Mapping) or name not in target:
                    raise GrammarError(f"{reference!r} names no part of the schema")
                target = target[name]
            schema, seen = target, seen + 1
        return schema


def pattern_problem(pattern: str) -> str | None:
    """Return the reason why llguidance rejects a regular expression, or None if it accepts it."""
    return problem_of({"type": "string", "pattern": pattern})


def problem_of(schema: Any) -> str | None:
    """Return the reason why llguidance rejects a narrowed schema in one plain line, or None if it accepts it."""
    return source_problem(json.dumps({"grammars": [{"json_schema": schema}]}))


def source_problem(source: str) -> str | None:
    """Return the reason why llguidance rejects a grammar in one plain line, or None if it accepts it."""
    from llguidance import LLMatcher

    is_error, messages = LLMatcher.validate_grammar_with_warnings(source)
    if not is_error:
        return None
    message = str(messages[0])
    if found := re.search(r'Unimplemented keys: \["(.*)"\]', message):
        return f"the keyword {found[1]!r} is not supported".replace('", "', "', '")
    if "oneOf constraints" in message:
        return "oneOf is supported only where its branches exclude each other: use anyOf"
    if found := re.search(r"^error: (.+)$", message, re.MULTILINE):
        return found[1].rstrip(".")
    return message.strip().split("\n")[0].rstrip(".")


def _disjoint(items: Any, count: int) -> list[dict[str, Any]] | None:
    """Return `count` narrower schemas of which no two allow the same value, or None if there is no simple way."""
    kind = items.get("type") if isinstance(items, Mapping) else None
    if kind == "string" and count <= len(ascii_lowercase) and not {"pattern", "format", "maxLength"} & set(items):
        size = len(ascii_lowercase) // count
        letters = [ascii_lowercase[start : start + size] for start in range(0, size * count, size)]
        return [{**items, "pattern": f"^[{some}{some.upper()}]"} for some in letters]
    bounds = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    if kind in ("integer", "number") and "multipleOf" not in items:
        low = ceil(items["minimum"]) if "minimum" in items else None
        low = floor(items["exclusiveMinimum"]) + 1 if "exclusiveMinimum" in items else low
        high = floor(items["maximum"]) if "maximum" in items else None
        high = ceil(items["exclusiveMaximum"]) - 1 if "exclusiveMaximum" in items else high
        start = low if low is not None else high - 100 * count + 1 if high is not None else 1
        size = (high - low + 1) // count if low is not None and high is not None else 100
        rest = {key: value for key, value in items.items() if key not in bounds}
        parts = [start + size * number for number in range(count)]
        if size > 0:
            return [{**rest, "type": "integer", "minimum": part, "maximum": part + size - 1} for part in parts]
    return None


def _any_value() -> dict[str, Any]:
    number = {"type": "number", "minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER}
    array, any_object = {"type": "array", "items": ANY_VALUE}, {"type": "object", "additionalProperties": ANY_VALUE}
    return {"anyOf": [{"type": ["null", "boolean", "string"]}, number, array, any_object]}


def _with_any_values(narrowed: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that names any value where it allows one."""
    if not set(narrowed) - ANNOTATIONS:
        return {**narrowed, **ANY_VALUE}
    kinds, named = _kinds(narrowed), {"properties", "patternProperties", *MERGED} - {"minProperties"}
    if narrowed.get("items", "array" in kinds) is True:
        narrowed["items"] = ANY_VALUE
    if narrowed.get("additionalProperties", "object" in kinds and not named & set(narrowed)) is True:
        narrowed["additionalProperties"] = ANY_VALUE
    if isinstance(properties := narrowed.get("properties"), dict):
        narrowed["properties"] = {name: ANY_VALUE if one is True else one for name, one in properties.items()}
    return narrowed


def _kinds(schema: Mapping[str, Any]) -> list[Any]:
    kinds = schema.get("type", [])
    return kinds if isinstance(kinds, list) else [kinds]


def _finite(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return bounds for a number without bounds: many digits or a long exponent would make infinity."""
    if "number" not in _kinds(schema) or {"enum", "const"} & set(schema):
        return {}
    low = {} if {"minimum", "exclusiveMinimum"} & set(schema) else {"minimum": -LARGEST_NUMBER}
    return low | ({} if {"maximum", "exclusiveMaximum"} & set(schema) else {"maximum": LARGEST_NUMBER})


def _exclusive_bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return rules that keep a number off its exclusive bounds, also once it is rounded to a float.

    Bounds less than 1 apart become inclusive ones slightly inside, because llguidance 1.9 allows exclusive ones. With
    other bounds, a number has only as many digits as a float near them.
    """
    low = schema.get("exclusiveMinimum", schema.get("minimum"))
    high = schema.get("exclusiveMaximum", schema.get("maximum"))
    exclusive = [schema[key] for key in ("exclusiveMinimum", "exclusiveMaximum") if key in schema]
    if not exclusive or _kinds(schema) == ["integer"]:
        return {}
    if not isinstance(low, int | float) or not isinstance(high, int | float) or not 0 < high - low < 1:
        places = min(DECIMAL_PLACES, max(0, FLOAT_DIGITS - max(len(str(int(abs(bound)))) for bound in exclusive)))
        return {} if "multipleOf" in schema else {"multipleOf": 10.0**-places}
    margin = max((high - low) / 1024, 2 * ulp(high), 2 * ulp(low))
    low += margin if "exclusiveMinimum" in schema else 0
    high -= margin if "exclusiveMaximum" in schema else 0
    return {"minimum": low, "exclusiveMinimum": low - margin, "maximum": high, "exclusiveMaximum": high + margin}


def _named_properties(schema: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return enough required properties for minProperties: llguidance counts a repeated property twice."""
    properties, required = schema.get("properties"), list(schema.get("required", ()))
    missing = schema.get("minProperties", 0) - len(required)
    if missing <= 0 or (missing == 1 and not properties and schema.get("additionalProperties") is not False):
        return {}
    if missing == 1 and schema.get("patternProperties"):
        return {}
    optional = [name for name in properties or () if name not in required]
    if len(optional) < missing:
        raise GrammarError(
            f"minProperties={schema['minProperties']}{located(place)} of an object that names {len(properties or ())} "
            "properties: name as many under `properties`, or leave it out"
        )
    return {"required": [*required, *optional[:missing]]}


def _keywords(schema: Any) -> set[str]:
    if isinstance(schema, Mapping):
        return set(schema).union(*map(_keywords, schema.values()))
    return set().union(*map(_keywords, schema)) if isinstance(schema, list) else set()


def _join(place: str, *names: object) -> str:
    return ".".join(map(str, (*([place] if place else []), *names)))


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items() if isinstance(value, Mapping) else enumerate(value))
