"""Grammars of answers: a JSON schema or a regular expression that constrains both models.

llguidance does the parsing, in the tokens of each model. `completion.py` completes the start of an answer.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pydantic import BaseModel

from nudging._extras import required_packages
from nudging.errors import GrammarError
from nudging.grammar.patterns import portable

Schema: TypeAlias = Mapping[str, Any] | type[BaseModel]

SEPARATORS = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}
"""JSON has the separators of Python's `json.dumps`. Fixed separators are forced tokens: they cost no forward pass."""

FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
"""The formats that llguidance enforces. All others are annotations in JSON schema."""

DATA = {"const", "enum", "default", "examples", "required"}
"""Keywords whose value contains no schemas."""

NAMED_SCHEMAS = {"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"}
"""Keywords whose value maps names to schemas. A name may look like a keyword."""

MERGED = {"allOf", "anyOf", "oneOf", "$ref", "patternProperties", "minProperties", "unevaluatedProperties"}
"""With one of these keywords, an object's properties may be declared elsewhere too."""


@dataclass(frozen=True)
class Grammar:
    """The set of texts that an answer may be.

    Args:
        source: The grammar in llguidance's notation.
        meaning: A description for error messages, for example "the schema 'Country'".
        is_json: True if the texts are JSON.
        patterns: The regular expressions in the grammar.
        lazy: True if it constrains only parts of a free text (tool calls). Then an answer is not completed, and a
            model that cannot follow a grammar may ignore it.
    """

    source: str = field(repr=False)
    meaning: str
    is_json: bool = True
    patterns: tuple[str, ...] = ()
    lazy: bool = False

    @classmethod
    def of_schema(cls, schema: Schema) -> "Grammar":
        """Return the grammar of JSON that is valid under a schema.

        Objects have the declared properties in the declared order, and no others.

        Args:
            schema: A JSON schema, or a pydantic model.

        Raises:
            GrammarError: It is not a schema, or no grammar can express it.
        """
        document = json_schema(schema)
        name = document.get("title") or str(document.get("$ref", "")).rpartition("/")[2]
        source = {"grammars": [{"json_schema": guided_schema(document)}]}
        meaning = f"the schema {name!r}" if name else "the schema"
        return cls(_checked(json.dumps(source), meaning), meaning, patterns=_patterns(document))

    @classmethod
    def of_regex(cls, pattern: str) -> "Grammar":
        """Return the grammar of texts that match a regular expression as a whole.

        Look-around and back references are not supported.

        Raises:
            GrammarError: It is not a regular expression, or no grammar can express it.
        """
        if not isinstance(pattern, str) or not pattern:
            raise GrammarError(f"regex={pattern!r}: give a regular expression, as a string that is not empty")
        meaning = f"the regex {pattern!r}"
        source = _of_lark(f"start: /{_escaped(portable(pattern))}/")
        return cls(_checked(source, meaning), meaning, is_json=False, patterns=(pattern,))

    @classmethod
    def of_lark(cls, lark: str, meaning: str, *, lazy: bool = False) -> "Grammar":
        """Return the grammar of a Lark grammar in llguidance's notation.

        Raises:
            GrammarError: The Lark grammar is malformed.
        """
        return cls(_checked(_of_lark(lark), meaning), meaning, lazy=lazy)


def is_expressible(schema: Schema) -> bool:
    """Return True if a grammar can express this schema."""
    try:
        Grammar.of_schema(schema)
    except GrammarError:
        return False
    return True


def json_schema(schema: Schema) -> dict[str, Any]:
    """Return a schema as a JSON document.

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


def guided_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema for llguidance. JSON that is valid under it is valid under the original too."""
    closed = "allOf" not in _keywords(schema)
    return {**_narrowed(dict(schema), closed=closed), "x-guidance": SEPARATORS}


def _narrowed(schema: Any, *, closed: bool) -> Any:
    """Return the schema without keywords that allow everything, and narrowed where llguidance allows too much.

    Args:
        schema: A schema, or a list of schemas. Anything else is returned unchanged.
        closed: True if objects have no undeclared properties.
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
    """Return True if a keyword allows everything: a format that is only an annotation, or a disabled rule."""
    return (key == "format" and value not in FORMATS) or (key == "uniqueItems" and value is False)


def _inclusive_bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return inclusive bounds slightly inside exclusive ones less than 1 apart: llguidance 1.9 allows those bounds."""
    low = schema.get("exclusiveMinimum", schema.get("minimum"))
    high = schema.get("exclusiveMaximum", schema.get("maximum"))
    if not isinstance(low, int | float) or not isinstance(high, int | float) or not 0 < high - low < 1:
        return {}
    margin = (high - low) / 1024
    low += margin if "exclusiveMinimum" in schema else 0
    high -= margin if "exclusiveMaximum" in schema else 0
    return {"minimum": low, "exclusiveMinimum": low - margin, "maximum": high, "exclusiveMaximum": high + margin}


def _named_properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return enough required properties for minProperties: llguidance counts a repeated property twice."""
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
    """Return all regular expressions in a schema."""
    if isinstance(schema, list):
        return tuple(pattern for item in schema for pattern in _patterns(item))
    if not isinstance(schema, Mapping):
        return ()
    own = [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
    return (*own, *schema.get("patternProperties", ()), *(one for part in schema.values() for one in _patterns(part)))


def _escaped(pattern: str) -> str:
    """Return the pattern as it is written between the slashes of a Lark grammar."""
    return pattern.replace("/", "\\/").replace("\n", "\\n")


def _of_lark(lark: str) -> str:
    return json.dumps({"grammars": [{"lark_grammar": lark}]})


def _problem(source: str) -> str | None:
    """Return the reason why llguidance rejects a grammar, or None if it accepts it."""
    with required_packages("a schema, a regex or a tool", extra="transformers"):
        from llguidance import LLMatcher
    is_error, messages = LLMatcher.validate_grammar_with_warnings(source)
    return " ".join(messages[0].split()) if is_error else None


def _checked(source: str, meaning: str) -> str:
    if problem := _problem(source):
        raise GrammarError(
            f"{meaning} cannot be expressed as a grammar: {problem.rstrip('.')}. Leave this part out, or rephrase it"
        )
    return source
