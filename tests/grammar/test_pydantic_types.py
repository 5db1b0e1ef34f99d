"""Types of pydantic: an answer that is cut anywhere and completed is one that pydantic accepts."""

import datetime
import enum
import random
import re
import uuid
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import pydantic
import pytest
from grammars import random_start
from nudging import Nudger, Prompts
from nudging.grammar.completion import Completer
from nudging.grammar.grammar import Grammar
from pydantic import BaseModel, Field, Json, create_model
from typing_extensions import TypedDict


class Colour(enum.Enum):
    RED = "red"
    GREEN = "dark green"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Place(NamedTuple):
    name: str
    zip_code: int


class Options(TypedDict, total=False):
    verbose: bool
    since: datetime.date


@dataclass
class Point:
    x: float
    y: Decimal = Decimal(0)


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    born: datetime.date | None = None


class Node(BaseModel):
    at: datetime.datetime
    children: list["Node"] = []
    parent: "Node | None" = None


NETWORK = """EmailStr NameEmail IPvAnyAddress IPvAnyInterface IPvAnyNetwork AnyUrl AnyHttpUrl HttpUrl
AnyWebsocketUrl WebsocketUrl FileUrl FtpUrl PostgresDsn CockroachDsn AmqpDsn RedisDsn MongoDsn KafkaDsn
NatsDsn MySQLDsn MariaDBDsn ClickHouseDsn SnowflakeDsn"""
OTHER = """AwareDatetime NaiveDatetime UUID1 UUID3 UUID4 UUID5 UUID6 UUID7 UUID8 Json Base64Bytes Base64Str
Base64UrlBytes Base64UrlStr ByteSize SecretStr SecretBytes FiniteFloat PositiveInt NegativeInt NonNegativeFloat
StrictInt StrictFloat StrictStr StrictBool StrictBytes JsonValue"""

TYPES: dict[str, Any] = {
    **{name: getattr(pydantic, name) for name in (NETWORK + " " + OTHER).split() if hasattr(pydantic, name)},
    **{
        kind.__name__: kind for kind in (datetime.date, datetime.time, datetime.datetime, datetime.timedelta, uuid.UUID)
    },
    **{kind.__name__: kind for kind in (IPv4Address, IPv4Interface, IPv4Network)},
    **{kind.__name__: kind for kind in (IPv6Address, IPv6Interface, IPv6Network)},
    **{kind.__name__: kind for kind in (int, float, str, bytes, bool, complex, Decimal, Fraction, Path, ZoneInfo)},
    **{kind.__name__: kind for kind in (Colour, Size, Place, Options, Point, Node)},
    "a list in JSON": Json[list[int]],
    "an object in JSON": Json[dict[str, int]],
    "a model in JSON": Json[Dog],
    "a recursive model in JSON": Json[Node],
    "bounded values in JSON": Json[tuple[Annotated[int, Field(gt=3)], Annotated[str, Field(min_length=2)], uuid.UUID]],
    "digits": Annotated[Decimal, Field(max_digits=5, decimal_places=2)],
    "digits in all": Annotated[Decimal, Field(max_digits=5)],
    "decimal places": Annotated[Decimal, Field(decimal_places=2)],
    "bounded decimal": Annotated[Decimal, Field(gt=0, le=10, decimal_places=1)],
    "small decimal": Annotated[Decimal, Field(max_digits=2, decimal_places=2)],
    "multiple": Annotated[Decimal, Field(multiple_of=Decimal("0.25"))],
    "multiple of a float": Annotated[float, Field(multiple_of=0.5, ge=1)],
    "stripped": Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=2)],
    "pattern": Annotated[str, Field(pattern=r"^[A-Z]{2}-\d{4}$")],
    "length": Annotated[str, Field(min_length=3, max_length=8)],
    "regex": re.Pattern,
    "literal": Literal["a", "b c", 3, None],
    "union": int | datetime.date | None,
    "discriminated": Annotated[Cat | Dog, Field(discriminator="kind")],
    "set": set[str],
    "set of an enum": set[Colour],
    "frozenset": frozenset[Literal["a", "b", "c", "d", "e", "f", "g", "h"]],
    "two integers": Annotated[set[int], Field(min_length=2, max_length=3)],
    "two strings": Annotated[set[str], Field(min_length=2)],
    "two values": Annotated[set[Annotated[int, Field(ge=1, le=6)]], Field(min_length=2)],
    "tuple": tuple[int, str],
    "long tuple": tuple[uuid.UUID, ...],
    "deque": deque[datetime.date],
    "list of models": Annotated[list[Dog], Field(min_length=1, max_length=2)],
    "dict": dict[str, datetime.time],
    "dict of integers": dict[int, int],
    "dict of positive integers": dict[pydantic.PositiveInt, int],
    "dict of floats": dict[float, str],
    "dict of booleans": dict[bool, str],
    "dict of UUIDs": dict[uuid.UUID, int],
    "dict of dates": dict[datetime.date, int],
    "dict of URLs": dict[pydantic.HttpUrl, int],
    "dict of literals": dict[Literal["a", "b"], int],
    "dict of one literal": dict[Literal["a"], int],
    "dict of an enum": dict[Colour, int],
    "dict of a pattern": dict[Annotated[str, Field(pattern=r"^x\d$")], int],
    "dict of a length": dict[Annotated[str, Field(min_length=2, max_length=3)], int],
    "dict that is not empty": Annotated[dict[str, int], Field(min_length=1)],
    "dict of literals that is not empty": Annotated[dict[Literal["a", "b"], int], Field(min_length=2)],
}


def check_completions(kind: Any, seed: str) -> None:
    """Cut random answers of this type everywhere, and let pydantic read them once they are completed."""
    model = create_model("Answer", value=(kind, ...))
    rng = random.Random(seed)
    grammar = Grammar.of_schema(model)
    completer = Completer(grammar)
    for length in range(0, 48, 2):
        start = random_start(grammar, rng, length)
        end = completer.complete(start)
        assert end is not None, start
        model.model_validate_json(start + end)


@pytest.mark.parametrize("name", TYPES)
def test_pydantic_accepts_an_answer_that_is_cut_anywhere_and_completed(name: str) -> None:
    check_completions(TYPES[name], name)


class Trip(BaseModel):
    start: datetime.date
    address: pydantic.HttpUrl
    people: set[Colour]
    note: Json[list[int]]


@pytest.mark.standard
def test_pydantic_accepts_the_answer_of_every_budget(tiny: Nudger) -> None:
    prompt = Prompts(base="who", nudging="who")
    with pytest.raises(Exception, match="needs at least") as refused:
        tiny.generate(prompt, schema=Trip, max_tokens=1)
    least = int(str(refused.value).split("needs at least ")[1].split()[0])
    for max_tokens in range(least, least + 31):
        answer = tiny.generate(prompt, schema=Trip, max_tokens=max_tokens, temperature=1.5, seed=max_tokens)
        Trip.model_validate_json(answer.text)
        assert answer.usage.completion_tokens <= max_tokens
