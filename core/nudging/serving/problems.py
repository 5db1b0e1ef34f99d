"""Plain sentences about a body that is no valid request."""

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

PLAIN = {
    "Input should be a valid dictionary or object to extract fields from": "must be an object",
    "Input should be a valid dictionary": "must be an object",
    "Input should be a valid integer": "must be an integer",
    "Input should be a valid ": "must be a ",
    "Input should be ": "must be ",
    "Field required": "is missing",
    "String should have": "must have",
    "List should have": "must have",
    " after validation": "",
    "Unable to extract tag using discriminator 'role'": "is missing",
    "Unable to extract tag using discriminator 'type'": "is missing",
    "Value error, ": "",
}
"""pydantic's words, and plainer ones."""

HEADER = "send a JSON object with the header content-type: application/json"


def sentences(problems: Sequence[Mapping[str, Any]], body: Any) -> Iterator[tuple[str, str]]:
    """Yield the path of each field that is wrong, as in "messages[0].content", and a sentence about it.

    Args:
        problems: pydantic's errors. A union has some for each of its types: only those of the best one are used.
        body: The body of the request.
    """
    placed = [(_path(problem, body), problem) for problem in problems]
    for _, group in groupby(placed, key=lambda one: one[0][:1]):
        of_field = list(group)
        deepest = max(len(path) for path, _ in of_field)
        best = [(path, problem) for path, problem in of_field if len(path) == deepest]
        of_values = [one for one in best if not one[1]["type"].endswith("_type")]
        for path, same in groupby(of_values or best, key=lambda one: one[0]):
            yield _written(path), _sentence(_written(path), [problem for _, problem in same])


def unreadable(error: BaseException | None) -> str:
    """Return a sentence about a body that cannot be read as JSON at all."""
    if isinstance(error, UnicodeDecodeError):
        return f"the body is not valid UTF-8: {error.reason} at byte {error.start}"
    if isinstance(error, RecursionError):
        return "the body is nested too deeply"
    return "the body cannot be read as JSON: does it have a number of thousands of digits?"


def _sentence(path: str, problems: Sequence[Mapping[str, Any]]) -> str:
    first = problems[0]
    if first["type"] == "json_invalid":
        return f"the body is not JSON: {first['ctx']['error']} at character {first['loc'][-1]}"
    if not path:
        return HEADER if first["type"] != "value_error" else _plain(first)
    reasons = list(dict.fromkeys(map(_plain, problems)))
    joined = " or ".join([reasons[0], *(reason.removeprefix("must be ") for reason in reasons[1:])])
    value = first["input"]
    has_own_words = first["type"] in ("value_error", "missing", "unknown_item", "unknown_tool")
    if has_own_words or not isinstance(value, str | int | float):
        return f"{path}: {joined}"
    return f"{path}: {joined}, not {reprlib.repr(value)}"


def _plain(problem: Mapping[str, Any]) -> str:
    if problem["type"] == "union_tag_invalid":
        context = problem["ctx"]
        return f"{context['tag']!r:.60} is not known: choose from {context['expected_tags']}"
    message = str(problem["msg"])
    for theirs, plain in PLAIN.items():
        message = message.replace(theirs, plain)
    return message


def _path(problem: Mapping[str, Any], body: Any) -> tuple[str | int, ...]:
    """Return the keys and indices that lead to a wrong field, without the names of types that pydantic puts between."""
    path: list[str | int] = []
    at = body
    parts = problem["loc"][1:]
    for number, part in enumerate(parts, start=1):
        is_missing = problem["type"] == "missing" and number == len(parts)
        if not is_missing:
            try:
                at = at[part]
            except (TypeError, LookupError):
                continue
        path.append(part)
    if problem["type"].startswith("union_tag"):
        path.append(problem["ctx"]["discriminator"].strip("'"))
    return tuple(path)


def _written(path: Sequence[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
