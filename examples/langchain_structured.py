"""Structured output: the answer is an instance of a pydantic model, always.

python examples/langchain_structured.py
"""

from typing import Literal

from nudging.demo import demo_pair
from pydantic import BaseModel

from langchain_nudging import ChatNudging


class City(BaseModel):
    name: str
    size: Literal["small", "medium", "large"]


class Country(BaseModel):
    name: str
    continent: Literal["Africa", "America", "Asia", "Europe", "Oceania"]
    cities: list[City]


def main() -> None:
    base_model, nudging_model = demo_pair()
    chat = ChatNudging(base_model=base_model, nudging_model=nudging_model, max_tokens=96)
    country = chat.with_structured_output(Country).invoke("Describe France, with two of its cities.")
    print(repr(country))


if __name__ == "__main__":
    main()
