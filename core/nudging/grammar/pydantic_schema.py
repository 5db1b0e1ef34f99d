"""JSON schemas of pydantic models, with constraints that pydantic checks and leaves out of its own JSON schemas."""

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from nudging.grammar.formats import FORMATS, url_pattern

DIGITS = 15
"""The number of digits of a decimal number without a limit."""

KEYS = {
    "integer": "^-?(?:0|[1-9][0-9]{0,14})$",
    "number": r"^-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,9})?$",
    "boolean": "^(?:true|false)$",
}
"""Patterns of an object's keys whose type is not a string."""


class PreciseJsonSchema(GenerateJsonSchema):
    """pydantic's generator, more precise for decimals, URLs, naive datetimes, stripped strings and typed keys."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        """Return a number with bounds and digits. As a string, it could not have bounds."""
        number: JsonSchemaValue = next(
            (one for one in super().decimal_schema(schema).get("anyOf", ()) if one.get("type") == "number"),
            {"type": "number"},
        )
        digits, places = schema.get("max_digits"), schema.get("decimal_places")
        if digits is None and places is None:
            return number
        places = min(places if places is not None else 2, digits or DIGITS)
        unit, whole = 10.0**-places, min(digits or DIGITS, DIGITS) - places
        number.setdefault("multipleOf", unit)
        if "exclusiveMaximum" not in number:
            number["maximum"] = min(number.get("maximum", 10.0**DIGITS), round(10.0**whole - unit, places))
        if "exclusiveMinimum" not in number:
            least = round(unit - 10.0**whole, places) if whole else unit  # 0 has a digit before the point
            number["minimum"] = max(number.get("minimum", -(10.0**DIGITS)), least)
        return number

    def url_schema(self, schema: core_schema.UrlSchema) -> JsonSchemaValue:
        """Return a URL with its schemes."""
        return super().url_schema(schema) | _schemes(schema)

    def multi_host_url_schema(self, schema: core_schema.MultiHostUrlSchema) -> JsonSchemaValue:
        """Return a URL with its schemes."""
        return super().multi_host_url_schema(schema) | _schemes(schema)

    def datetime_schema(self, schema: core_schema.DatetimeSchema) -> JsonSchemaValue:
        """Return a datetime without an offset if it must have none."""
        datetime = super().datetime_schema(schema)
        if schema.get("tz_constraint") == "naive" and datetime.get("format") == "date-time":
            return {"type": "string", "format": "local-date-time"}
        return datetime

    def complex_schema(self, schema: core_schema.ComplexSchema) -> JsonSchemaValue:
        """Return a string with the pattern of complex numbers."""
        return {"type": "string", "pattern": f"^(?:{FORMATS['complex'].pattern})$"}

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        """Return a string without space at its ends if a minimum length is checked without it."""
        string = super().str_schema(schema)
        strip = schema.get("strip_whitespace", self._config.config_dict.get("str_strip_whitespace"))
        if strip and string.get("minLength") and "pattern" not in string:
            string["pattern"] = r"^\S(.*\S)?$"
        return string

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Return an object whose keys have patterns also if they are numbers or booleans."""
        result = super().dict_schema(schema)
        if {"propertyNames", "patternProperties"} & set(result) or "keys_schema" not in schema:
            return result
        keys = self.generate_inner(schema["keys_schema"])
        branches = keys.get("anyOf", [keys])
        if {"type": "string"} not in branches and (known := [one for one in branches if one.get("type") in KEYS]):
            result["propertyNames"] = {"pattern": _key_pattern(known[0])}
        return result


def _schemes(schema: Mapping[str, Any]) -> JsonSchemaValue:
    schemes = schema.get("allowed_schemes")
    names = "|".join(schemes or ()).replace("+", r"\+")
    return {"pattern": f"^(?:{url_pattern(names)})$"} if names else {}


def _key_pattern(keys: Mapping[str, Any]) -> str:
    if keys["type"] == "integer" and keys.get("exclusiveMinimum") == 0:
        return "^[1-9][0-9]{0,14}$"
    pattern = KEYS[keys["type"]]
    return pattern.replace("-?", "") if keys.get("minimum") == 0 else pattern
