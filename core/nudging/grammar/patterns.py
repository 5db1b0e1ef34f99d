"""Regular expressions: a short match of a pattern, and patterns with one meaning in all engines."""

import re
from typing import Any

try:
    from re import _parser as parser  # type: ignore[attr-defined]
except ImportError:  # Python 3.10
    import sre_parse as parser


OTHER_SPACES = r"\x1c-\x1f\x85\ufeff"
"""Characters that `\\s` matches in some engines only."""

CONTROLS = r"\x00-\x08"
"""A negated class that matches these lets llguidance 1.9 accept an escaped quote in JSON as any character of it."""


def portable(pattern: str) -> str:
    """Return the pattern, narrowed so that every match in llguidance is a match in Python, Rust and JavaScript."""
    narrowed, within, excluded = "", False, False
    for part in re.findall(r"\\.|\[\^?|.", pattern, re.DOTALL):
        if part.startswith("[") and not within:
            within, excluded = True, part == "[^"
            part += CONTROLS if excluded else ""
        elif part == "]":
            within = False
        elif part == r"\s":
            part = rf"\s{OTHER_SPACES}" if within and excluded else r" \t\n\r\f\v" if within else r"[ \t\n\r\f\v]"
        elif part == r"\S" and not within:
            part = rf"[^\s{OTHER_SPACES}{CONTROLS}]"
        narrowed += part
    return narrowed


def example_match(pattern: str) -> str:
    """Return a short text that contains a match of the pattern, or "" if Python cannot parse the pattern.

    Args:
        pattern: A regular expression without look-around and back references.
    """
    try:
        return _example(parser.parse(pattern))
    except (parser.error, KeyError, RecursionError, OverflowError):
        return ""


def _example(parsed: Any) -> str:
    return "".join(str(_EXAMPLES[str(kind)](argument)) for kind, argument in parsed)


def _of_class(members: Any) -> str:
    kind, argument = members[0]
    if str(kind) == "NEGATE":
        excluded = "".join(map(_of_class, ([member] for member in members[1:])))
        return next((character for character in "a0 -_.A" if character not in excluded), "b")
    return str(_CLASS_EXAMPLES[str(kind)](argument))


_CATEGORIES = {
    "CATEGORY_DIGIT": "0",
    "CATEGORY_WORD": "a",
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_DIGIT": "a",
    "CATEGORY_NOT_WORD": " ",
    "CATEGORY_NOT_SPACE": "a",
}
_CLASS_EXAMPLES: dict[str, Any] = {
    "LITERAL": chr,
    "RANGE": lambda bounds: chr(bounds[0]),
    "CATEGORY": lambda category: _CATEGORIES[str(category)],
}
_EXAMPLES: dict[str, Any] = {
    "LITERAL": chr,
    "NOT_LITERAL": lambda code: "b" if code == ord("a") else "a",
    "ANY": lambda _: "a",
    "IN": _of_class,
    "AT": lambda _: "",
    "BRANCH": lambda argument: min((_example(branch) for branch in argument[1]), key=len),
    "SUBPATTERN": lambda argument: _example(argument[-1]),
    "MAX_REPEAT": lambda argument: _example(argument[2]) * argument[0],
    "MIN_REPEAT": lambda argument: _example(argument[2]) * argument[0],
}
