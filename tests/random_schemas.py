"""Random JSON schemas, from common ones to unusual ones."""

import random
from typing import Any

Schema = dict[str, Any]

PATTERNS = [
    r"^[A-Z]{2}-\d{4}$",
    r"^\d{3}-\d{2}-\d{4}$",
    r"^(red|green|blue)$",
    r"^#[0-9a-f]{6}$",
    r"^[a-z]+(_[a-z]+)*$",
    r"^v\d+\.\d+\.\d+$",
    r"[aeiou]",
    r"^[^\s@]+@[^\s@]+\.[a-z]{2,}$",
    r"^\+?[0-9 ]{6,12}$",
    r"^(a|bc)+d?$",
    r"^\w+ \w+$",
    r'^"[^"]*"$',
    r"\d$",
    r"^(Mr|Ms|Dr)\. [A-Z][a-z]+$",
]
FORMATS = ["date", "date-time", "time", "duration", "email", "uuid", "ipv4", "ipv6", "hostname", "uri"]
NAMES = [
    "name",
    "age",
    "id",
    "tags",
    "items",
    "e mail",
    "größe",
    'say "hi"',
    "x",
    "is_ok",
    "type",
    "next/prev",
    "$ref2",
]


def random_schema(rng: random.Random, depth: int = 3) -> Schema:
    """Return a schema of an object, an array, a union or a plain value, nested at most `depth` levels deep."""
    kinds = [_string, _string, _integer, _number, _plain, _enum, _const]
    if depth > 0:
        kinds += [_object, _object, _object, _array, _array, _union]
    return rng.choice(kinds)(rng, depth - 1)


def random_object_schema(rng: random.Random, depth: int = 3) -> Schema:
    """Return a schema of an object, nested at most `depth` levels deep."""
    return _object(rng, depth - 1)


def _object(rng: random.Random, depth: int) -> Schema:
    names = rng.sample(NAMES, rng.randint(0, 5))
    schema: Schema = {"type": "object", "properties": {name: random_schema(rng, depth) for name in names}}
    if names and rng.random() < 0.8:
        schema["required"] = rng.sample(names, rng.randint(1, len(names)))
    extra = rng.random()
    if extra < 0.5:
        schema["additionalProperties"] = False
    elif extra < 0.6:
        schema["additionalProperties"] = random_schema(rng, 0)
    elif extra < 0.7:
        keys: list[Schema] = [{"enum": rng.sample(NAMES, 3)}, {"pattern": "^[a-z]+$"}, {"format": "date"}]
        return {"type": "object", "propertyNames": rng.choice(keys), "additionalProperties": random_schema(rng, 0)}
    return schema


def _array(rng: random.Random, depth: int) -> Schema:
    schema: Schema = {"type": "array", "items": random_schema(rng, depth)}
    if rng.random() < 0.4:
        schema["minItems"] = rng.randint(0, 3)
    if rng.random() < 0.5:
        schema["maxItems"] = schema.get("minItems", 0) + rng.randint(0 if schema.get("minItems") else 1, 3)
    if rng.random() < 0.2 and schema.get("minItems", 0) <= 1:
        schema["uniqueItems"] = True
    elif rng.random() < 0.15:
        schema["prefixItems"] = [random_schema(rng, depth) for _ in range(rng.randint(1, 2))]
    return schema


def _union(rng: random.Random, depth: int) -> Schema:
    if rng.random() < 0.3:
        return {"type": rng.sample(["string", "integer", "null", "boolean", "number"], 2)}
    return {"anyOf": [random_schema(rng, depth) for _ in range(rng.randint(1, 3))]}


def _string(rng: random.Random, depth: int) -> Schema:
    schema: Schema = {"type": "string"}
    kind = rng.random()
    if kind < 0.35:
        schema["pattern"] = rng.choice(PATTERNS)
    elif kind < 0.6:
        schema["minLength"] = rng.randint(0, 12)
        schema["maxLength"] = schema["minLength"] + rng.randint(0, 20)
    elif kind < 0.75:
        schema["format"] = rng.choice(FORMATS)
    return schema


def _integer(rng: random.Random, depth: int) -> Schema:
    schema: Schema = {"type": "integer"}
    low = rng.choice([0, 1, -5, -100, 18, 99, 1000, -1])
    kind = rng.random()
    if kind < 0.5:
        schema["minimum" if rng.random() < 0.7 else "exclusiveMinimum"] = low
    if 0.25 < kind < 0.75:
        schema["maximum" if rng.random() < 0.7 else "exclusiveMaximum"] = low + rng.choice([2, 5, 10, 119, 4001])
    if rng.random() < 0.15:
        schema["multipleOf"] = rng.choice([1, 2, 5])
    return schema


def _number(rng: random.Random, depth: int) -> Schema:
    schema: Schema = {"type": "number"}
    low = rng.choice([0, 0.0, 0.5, -1.5, -90, 1e-3, 3.14, 36.6, -273.15, -1])
    kind = rng.random()
    if kind < 0.5:
        schema["minimum" if rng.random() < 0.6 else "exclusiveMinimum"] = low
    if 0.25 < kind < 0.75:
        schema["maximum" if rng.random() < 0.6 else "exclusiveMaximum"] = low + rng.choice([1, 0.25, 1e-3, 180, 5.5])
    return schema


def _plain(rng: random.Random, depth: int) -> Schema:
    return {"type": rng.choice(["boolean", "null"])}


def _enum(rng: random.Random, depth: int) -> Schema:
    values: list[Any] = ["red", "dark green", "blue", 1, 2.5, None, True, "", "naïve", 'a "quoted" word', [1, 2]]
    return {"enum": rng.sample(values, rng.randint(1, 4))}


def _const(rng: random.Random, depth: int) -> Schema:
    return {"const": rng.choice(["fixed", 7, False, {"kind": "circle"}, "two words"])}
