"""JSON within a JSON string (`contentSchema`, pydantic's `Json`), as a regular expression."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from nudging.errors import GrammarError
from nudging.grammar.patterns import example_match

STRING = '"[A-Za-z0-9 .,:;_-]*"'
INTEGER = "-?(?:0|[1-9][0-9]{0,14})"
NUMBER = rf"{INTEGER}(?:\.[0-9]{{1,9}})?"
SCALAR = rf"(?:{STRING}|{NUMBER}|true|false|null)"
ANYTHING = rf"(?:{SCALAR}|\[(?:{SCALAR}(?:, {SCALAR})*)?\]|\{{(?:{STRING}: {SCALAR}(?:, {STRING}: {SCALAR})*)?\}})"
"""Any value, with at most one level of arrays and objects."""

PLAIN = {"boolean": "(?:true|false)", "null": "null"}

LARGEST_NUMBER = 9e18
"""The bound of numbers without other bounds, the largest that llguidance 1.9 expresses."""

DEPTH = 4
"""The number of levels below which optional properties, items and branches are left out."""


def text_pattern(schema: Any, resolve: Callable[[Any], Any], depth: int = DEPTH) -> str:
    """Return a regular expression of JSON texts that are valid under a schema. It leaves some valid texts out.

    Args:
        schema: The schema, narrowed.
        resolve: Returns the schema that a `$ref` names.
        depth: The number of levels below which optional parts are left out.

    Raises:
        GrammarError: The schema requires itself without end.
    """
    if depth < -DEPTH:
        raise GrammarError("the JSON within a string requires itself without end, or is too deep")

    def inner(part: Any) -> str:
        return text_pattern(part, resolve, depth - 1)

    schema = resolve(schema)
    if schema is True or not schema:
        return ANYTHING
    if "const" in schema or "enum" in schema:
        return _any_of(re.escape(json.dumps(value)) for value in schema.get("enum", [schema.get("const")]))
    if branches := schema.get("anyOf") or schema.get("oneOf"):
        return _any_of(map(inner, branches if depth > 0 else branches[-1:]))
    kind = schema.get("type")
    if isinstance(kind, list):
        return _any_of(inner({**schema, "type": one}) for one in kind)
    kinds: dict[str, Callable[..., str]] = {
        "array": _array,
        "object": _object,
        "string": _string,
        "integer": _number,
        "number": _number,
    }
    return kinds[str(kind)](schema, inner, depth) if kind in kinds else PLAIN.get(str(kind), ANYTHING)


def _any_of(patterns: Any) -> str:
    return f"(?:{'|'.join(patterns)})"


def _string(schema: Mapping[str, Any], *_: object) -> str:
    pattern = schema.get("pattern")
    if pattern is None:
        least, most = schema.get("minLength", 0), schema.get("maxLength", "")
        return STRING.replace("*", f"{{{least},{most}}}") if least or most != "" else STRING
    if pattern.startswith("^(?:") and pattern.endswith(")$") and '"' not in pattern and "\\\\" not in pattern:
        return f'"{pattern[1:-1]}"'
    return re.escape(json.dumps(example_match(pattern).ljust(schema.get("minLength", 0), "a")))


def _number(schema: Mapping[str, Any], *_: object) -> str:
    """Return the pattern of numbers. With bounds, it is one number within them."""
    step = schema.get("multipleOf", 1)
    schema = {key: value for key, value in schema.items() if value not in (-LARGEST_NUMBER, LARGEST_NUMBER)}
    if not {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf"} & set(schema):
        return INTEGER if schema["type"] == "integer" else NUMBER
    if "minimum" in schema or "exclusiveMinimum" in schema:
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        number = -(-low // step) * step + (step if "exclusiveMinimum" in schema and low % step == 0 else 0)
    else:
        high = schema.get("maximum", schema.get("exclusiveMaximum", 0))
        number = high // step * step - (step if "exclusiveMaximum" in schema and high % step == 0 else 0)
    return re.escape(json.dumps(number))


def _array(schema: Mapping[str, Any], inner: Callable[[Any], str], depth: int) -> str:
    first = [inner(item) for item in schema.get("prefixItems", ())]
    most = schema.get("maxItems")
    least, left = max(schema.get("minItems", 0) - len(first), 0), None if most is None else most - len(first)
    if schema.get("items") is False or (left is not None and left <= 0) or (depth <= 0 and not least):
        return rf"\[{', '.join(first)}\]"
    item = inner(schema.get("items", True))
    if first:
        return rf"\[{', '.join(first)}(?:, {item}){{{least},{'' if left is None else left}}}\]"
    items = rf"{item}(?:, {item}){{{max(least - 1, 0)},{'' if left is None else left - 1}}}"
    return rf"\[{items}\]" if least else rf"\[(?:{items})?\]"


def _object(schema: Mapping[str, Any], inner: Callable[[Any], str], depth: int) -> str:
    required = schema.get("required", ())
    named = {name: one for name, one in schema.get("properties", {}).items() if depth > 0 or name in required}
    members = [f"{re.escape(json.dumps(name))}: {inner(value)}" for name, value in named.items()]
    other = schema.get("patternProperties") or {None: schema.get("additionalProperties", True)}
    (keys, values), *_ = other.items()
    if members or values is False or (depth <= 0 and not schema.get("minProperties")):
        return rf"\{{{', '.join(members)}\}}"
    member = f"{_string({'pattern': keys} if keys else {})}: {inner(values)}"
    return rf"\{{(?:{member}){'' if schema.get('minProperties') else '?'}\}}"
