"""Formats: every match of a format's pattern is a value that validators accept."""

import json
import random
import re

import jsonschema_rs
import pytest
from grammars import random_text
from nudging.grammar.formats import FORMATS, REPLACED_PATTERNS, format_named
from nudging.grammar.grammar import Grammar

NAMES = [*FORMATS, "zoneinfo"]


def is_valid(text: str, name: str) -> bool:
    """Return True if JSON text is valid under a format of JSON schema. Other formats have no rules."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "string", "format": name}
    return jsonschema_rs.validator_for(schema, validate_formats=True).is_valid(json.loads(text))


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_a_format_is_valid(name: str) -> None:
    rng = random.Random(name)
    grammar = Grammar.of_schema({"type": "string", "format": name})
    for length in range(30):
        assert is_valid(text := random_text(grammar, rng, length), name), text


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_format_has_it(name: str) -> None:
    form = format_named(name)
    assert form is not None
    assert re.fullmatch(form.pattern, form.example)
    assert is_valid(json.dumps(form.example), name)


@pytest.mark.parametrize("form", REPLACED_PATTERNS.values())
def test_the_example_of_a_replaced_pattern_matches_it(form: object) -> None:
    pattern, example = form  # type: ignore[misc]
    assert re.fullmatch(pattern, example)


@pytest.mark.parametrize(
    ("name", "valid", "invalid"),
    [
        ("date", ["2024-02-29", "2000-02-29", "1999-12-31"], ["0000-01-01", "2023-02-29", "1900-02-29", "2024-04-31"]),
        ("time", ["23:59:59Z", "12:00:00.5+05:30"], ["23:59:60Z", "24:00:00Z", "12:00:00"]),
        ("date-time", ["2024-02-29T12:00:00Z"], ["2024-02-30T12:00:00Z", "2024-02-29T12:00:60Z"]),
        ("duration", ["P1Y2M3DT4H5M6S", "P3W", "PT5M"], ["P", "PT", "P1DT", "P1W2D"]),
        ("uuid4", ["01234567-89ab-4def-8123-456789abcdef"], ["01234567-89ab-1def-8123-456789abcdef"]),
        ("ipv4", ["192.168.0.1"], ["256.1.1.1", "01.1.1.1", "1.1.1"]),
        ("ipv6", ["::1", "2001:db8::ff00:42:8329", "1:2:3:4:5:6:7:8"], ["1::2::3", "1:2:3", ":::"]),
        ("ipv4network", ["10.0.0.0/8", "192.168.1.0/24"], ["10.0.0.1/8", "1.1.1.1/33"]),
        ("ipv6network", ["2001:db8::/32", "::/0"], ["2001:db8::1/32"]),
        ("email", ["ada.lovelace+x@mail.example.org"], ["a@b", "a@localhost", "a..b@c.de", "a@b.test"]),
        ("uri", ["https://en.wikipedia.org/wiki/Paris?x=1#top", "http://localhost:8000/a"], ["A:", "http://", "x"]),
        ("hostname", ["a-b.example.com"], ["-a", "a..b", "a_b"]),
        ("base64", ["aGVsbG8=", ""], ["aGVsbG8", "!", "=aaa"]),
        ("zoneinfo", ["Europe/Paris", "UTC", "Etc/GMT+3"], ["Mars/Base", ""]),
        ("regex", [r"^a+[bc]?\d*$"], ["*", "a**", "["]),
    ],
)
def test_a_format_has_its_usual_values_and_no_others(name: str, valid: list[str], invalid: list[str]) -> None:
    form = format_named(name)
    assert form is not None
    assert [value for value in valid if not re.fullmatch(form.pattern, value)] == []
    assert [value for value in invalid if re.fullmatch(form.pattern, value)] == []
