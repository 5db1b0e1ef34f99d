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
from nudging.grammar.narrowing import Guided, guided_schema, located, problem_of, source_problem, subschemas
from nudging.grammar.patterns import example_match, portable
from nudging.grammar.pydantic_schema import PreciseJsonSchema

Schema: TypeAlias = Mapping[str, Any] | type[BaseModel]


@dataclass(frozen=True)
class Grammar:
    """The set of texts that an answer may be.

    Args:
        source: The grammar in llguidance's notation.
        meaning: A description for error messages, for example "the schema 'Country'".
        is_json: True if the texts are JSON.
        examples: Short matches of the regular expressions in the grammar.
        lazy: True if it constrains only parts of a free text (tool calls). Then an answer is not completed, and a
            model that cannot follow a grammar may ignore it.
    """

    source: str = field(repr=False)
    meaning: str
    is_json: bool = True
    examples: tuple[str, ...] = ()
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
        meaning = f"the schema {name!r}" if name else "the schema"
        guided = checked_schema(document, meaning)
        return cls(json.dumps({"grammars": [{"json_schema": guided.schema}]}), meaning, examples=guided.examples)

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
        return cls(_checked(source, meaning), meaning, is_json=False, examples=(example_match(pattern),))

    @classmethod
    def of_lark(cls, lark: str, meaning: str, *, examples: tuple[str, ...] = (), lazy: bool = False) -> "Grammar":
        """Return the grammar of a Lark grammar in llguidance's notation.

        Raises:
            GrammarError: The Lark grammar is malformed.
        """
        return cls(_checked(_of_lark(lark), meaning), meaning, examples=examples, lazy=lazy)


def json_schema(schema: Schema) -> dict[str, Any]:
    """Return a schema as a JSON document.

    Raises:
        GrammarError: It is neither a JSON schema nor a pydantic model.
    """
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema.model_json_schema(schema_generator=PreciseJsonSchema)
    if not isinstance(schema, Mapping):
        raise GrammarError(f"schema={schema!r}: give a JSON schema (a dictionary) or a pydantic model")
    try:
        return dict(json.loads(json.dumps(schema)))
    except (TypeError, ValueError) as error:
        raise GrammarError(f"the schema is not JSON: {error}") from None


def checked_schema(document: Mapping[str, Any], meaning: str) -> Guided:
    """Return a schema for llguidance, which accepts it.

    Args:
        document: A JSON schema.
        meaning: Its description for error messages.

    Raises:
        GrammarError: No grammar can express the schema. The message names the keyword and its place.
    """
    _require_llguidance()
    try:
        guided = guided_schema(document)
    except GrammarError as error:
        raise GrammarError(f"{meaning} cannot be expressed as a grammar: {error}") from None
    if problem := problem_of(guided.schema):
        place, problem = _innermost_problem(guided.schema, problem, guided.schema)
        raise _inexpressible(meaning, f"{problem}{located(place)}")
    return guided


def _escaped(pattern: str) -> str:
    """Return the pattern as it is written between the slashes of a Lark grammar."""
    return pattern.replace("/", "\\/").replace("\n", "\\n")


def _of_lark(lark: str) -> str:
    return json.dumps({"grammars": [{"lark_grammar": lark}]})


def _checked(source: str, meaning: str) -> str:
    _require_llguidance()
    if problem := source_problem(source):
        raise _inexpressible(meaning, problem)
    return source


def _inexpressible(meaning: str, problem: str) -> GrammarError:
    return GrammarError(f"{meaning} cannot be expressed as a grammar: {problem}. Leave this part out, or rephrase it")


def _require_llguidance() -> None:
    with required_packages("a schema, a regex or a tool", extra="transformers"):
        import llguidance  # noqa: F401


def _innermost_problem(schema: Any, problem: str, root: Mapping[str, Any], place: str = "") -> tuple[str, str]:
    """Return the place of the smallest part of a schema that llguidance rejects, and the reason."""
    definitions = {key: root[key] for key in ("$defs", "definitions") if key in root}
    for inner_place, part in subschemas(schema, place):
        if isinstance(part, Mapping) and (inner := problem_of({**definitions, **part})):
            return _innermost_problem(part, inner, root, inner_place)
    return place, problem
