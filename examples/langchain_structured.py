"""Structured output: the answer is always an instance of a pydantic model.

python examples/langchain_structured.py
"""

from typing import Literal

from nudging.models.demo import demo_pair
from pydantic import BaseModel

from langchain_nudging import ChatNudging


class Item(BaseModel):
    product: str
    amount: int
    unit: Literal["kg", "litre", "piece"]


class Order(BaseModel):
    customer: str
    items: list[Item]


def main() -> None:
    base_model, nudging_model = demo_pair()
    chat = ChatNudging(base_model=base_model, nudging_model=nudging_model, max_tokens=96)
    order = chat.with_structured_output(Order).invoke("Order of Ada: 3 kg of apples, 2 litres of milk")
    print(repr(order))


if __name__ == "__main__":
    main()
