"""What an answer may be: a JSON schema or a regular expression, as a grammar that masks both models.

llguidance does the parsing, on the tokens of each model. `closing.py` knows how to complete what has been begun.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pydantic import BaseModel

from nudging.errors import GrammarError, MissingDependencyError
from nudging.grammar.patterns import portable

Schema: TypeAlias = Mapping[str, Any] | type[BaseModel]

SEPARATORS = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}
"""JSON is written as Python's `json.dumps` writes it. What is the same everywhere costs no forward pass."""

FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
"""The formats that llguidance enforces; JSON schema has the others as annotations."""

DATA = {"const", "enum", "default", "examples", "required"}
"""Keywords whose value is not made of schemas."""

NAMED_SCHEMAS = {"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"}
"""Keywords whose value has schemas by names, which may look like keywords."""

MERGED = {"allOf", "anyOf", "oneOf", "$ref", "patternProperties", "minProperties", "unevaluatedProperties"}
"""Beside one of these, an object's properties may be named elsewhere too."""


@dataclass(frozen=True)
class Grammar:
    """All texts that an answer may be.

    Args:
        source: As llguidance reads it.
        meaning: What it stands for, in words, for errors.
        is_json: Whether they are JSON.
        patterns: The regular expressions in it.
        lazy: Whether it holds only what begins in a certain way, in a text that is free otherwise. Then an answer is
            not completed, and a model that cannot be masked may do without.
    """

    source: str = field(repr=False)
    meaning: str
    is_json: bool = True
    patterns: tuple[str, ...] = ()
    lazy: bool = False

    @classmethod
    def of_schema(cls, schema: Schema) -> "Grammar":
        """JSON that is valid under a schema. Objects have the properties that are named, in that order, and no others.

        Args:
            schema: A JSON schema, or a pydantic model.

        Raises:
            GrammarError: It is no schema, or one that no grammar can express.
        """
        document = json_schema(schema)
        name = document.get("title") or str(document.get("$ref", "")).rpartition("/")[2]
        source = {"grammars": [{"json_schema": guided(document)}]}
        meaning = f"the schema {name!r}" if name else "the schema"
        return cls(_checked(json.dumps(source), meaning), meaning, patterns=_patterns(document))

    @classmethod
    def of_regex(cls, pattern: str) -> "Grammar":
        """Texts that match a regular expression from end to end. It has no look-around and no back references.

        Raises:
            GrammarError: It is no regular expression, or one that no grammar can express.
        """
        if not isinstance(pattern, str) or not pattern:
            raise GrammarError(f"regex={pattern!r}: give a regular expression, as a text that is not empty")
        meaning = f"the regex {pattern!r}"
        source = _of_lark(f"start: /{_escaped(portable(pattern))}/")
        return cls(_checked(source, meaning), meaning, is_json=False, patterns=(pattern,))

    @classmethod
    def of_lark(cls, lark: str, meaning: str, *, lazy: bool = False) -> "Grammar":
        """Texts of a Lark grammar, as llguidance reads them.

        Raises:
            GrammarError: It is not well formed.
        """
        return cls(_checked(_of_lark(lark), meaning), meaning, lazy=lazy)


def is_expressible(schema: Schema) -> bool:
    """Whether answers can be held to a schema."""
    try:
        Grammar.of_schema(schema)
    except GrammarError:
        return False
    return True


def json_schema(schema: Schema) -> dict[str, Any]:
    """A schema as a JSON document.

    Raises:
        GrammarError: It is neither a JSON schema nor a pydantic model.
    """
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema.model_json_schema()
    if not isinstance(schema, Mapping):
        raise GrammarError(f"schema={schema!r}: give a JSON schema (a dictionary) or a pydantic model")
    try:
        return dict(json.loads(json.dumps(schema)))
    except (TypeError, ValueError) as error:
        raise GrammarError(f"the schema is not JSON: {error}") from None


def guided(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as a grammar shall follow it: any JSON that is valid under it is valid under the original."""
    closed = "allOf" not in _keywords(schema)
    return {**_narrowed(dict(schema), closed=closed), "x-guidance": SEPARATORS}


def _narrowed(schema: Any, *, closed: bool) -> Any:
    """The schema without what a grammar need not know or would take too widely.

    Args:
        schema: Or a list of them; anything else stays as it is.
        closed: Whether objects have no properties but those that are named.
    """
    if isinstance(schema, list):
        return [_narrowed(item, closed=closed) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    narrowed = {
        key: value
        if key in DATA
        else {name: _narrowed(one, closed=closed) for name, one in value.items()}
        if key in NAMED_SCHEMAS and isinstance(value, Mapping)
        else _narrowed(value, closed=closed)
        for key, value in schema.items()
        if not _is_idle(key, value)
    }
    if closed and isinstance(schema.get("properties"), Mapping) and not MERGED & set(schema):
        narrowed.setdefault("additionalProperties", False)
    if isinstance(pattern := schema.get("pattern"), str):
        narrowed["pattern"] = portable(pattern)
    if isinstance(branches := narrowed.get("anyOf"), list):
        narrowed["anyOf"] = [branch for branch in branches if not _has_inexpressible_pattern(branch)] or branches
    return narrowed | _inclusive_bounds(schema) | _named_properties(schema)


def _is_idle(key: str, value: Any) -> bool:
    """Whether a keyword permits everything: a format that is an annotation only, or a rule that is switched off."""
    return (key == "format" and value not in FORMATS) or (key == "uniqueItems" and value is False)


def _inclusive_bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Bounds a little inside of exclusive ones that are less than 1 apart, where llguidance 1.9 permits the bound."""
    low = schema.get("exclusiveMinimum", schema.get("minimum"))
    high = schema.get("exclusiveMaximum", schema.get("maximum"))
    if not isinstance(low, int | float) or not isinstance(high, int | float) or not 0 < high - low < 1:
        return {}
    margin = (high - low) / 1024
    low += margin if "exclusiveMinimum" in schema else 0
    high -= margin if "exclusiveMaximum" in schema else 0
    return {"minimum": low, "exclusiveMinimum": low - margin, "maximum": high, "exclusiveMaximum": high + margin}


def _named_properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    """As many required properties as there must be: llguidance would count another twice that is written twice."""
    properties, required = schema.get("properties"), list(schema.get("required", ()))
    missing = schema.get("minProperties", 0) - len(required)
    if missing <= 0:
        return {}
    optional = [name for name in properties or () if name not in required]
    if len(optional) < missing:
        raise GrammarError(
            f"minProperties={schema['minProperties']} of an object that names {len(properties or ())} properties: "
            "name as many under `properties`, or leave it out"
        )
    return {"required": [*required, *optional[:missing]]}


def _has_inexpressible_pattern(schema: Any) -> bool:
    pattern = schema.get("pattern") if isinstance(schema, Mapping) else None
    return isinstance(pattern, str) and _problem(_of_lark(f"start: /{_escaped(pattern)}/")) is not None


def _keywords(schema: Any) -> set[str]:
    if isinstance(schema, Mapping):
        return set(schema).union(*map(_keywords, schema.values()))
    return set().union(*map(_keywords, schema)) if isinstance(schema, list) else set()


def _patterns(schema: Any) -> tuple[str, ...]:
    """All regular expressions of a schema."""
    if isinstance(schema, list):
        return tuple(pattern for item in schema for pattern in _patterns(item))
    if not isinstance(schema, Mapping):
        return ()
    own = [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
    return (*own, *schema.get("patternProperties", ()), *(one for part in schema.values() for one in _patterns(part)))


def _escaped(pattern: str) -> str:
    """As it stands between the slashes of a Lark grammar."""
    return pattern.replace("/", "\\/").replace("\n", "\\n")


def _of_lark(lark: str) -> str:
    return json.dumps({"grammars": [{"lark_grammar": lark}]})


def _problem(source: str) -> str | None:
    """Why llguidance cannot take a grammar; None if it can."""
    try:
        from llguidance import LLMatcher
    except ImportError:
        raise MissingDependencyError(
            "a schema, a regex or tools need the package llguidance: pip install 'nudging[transformers]'"
        ) from None
    is_error, messages = LLMatcher.validate_grammar_with_warnings(source)
    return " ".join(messages[0].split()) if is_error else None


def _checked(source: str, meaning: str) -> str:
    if problem := _problem(source):
        raise GrammarError(
            f"{meaning} cannot be expressed as a grammar: {problem.rstrip('.')}. Leave that out, or say it otherwise"
        )
    return source
