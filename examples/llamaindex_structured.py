"""Extracts a pydantic object from a text, complete and then streamed.

python examples/llamaindex_structured.py
"""

from typing import Literal

from llama_index.core.prompts import PromptTemplate
from nudging.models.demo import demo_pair
from pydantic import BaseModel, Field

from llamaindex_nudging import NudgingLLM


class Guest(BaseModel):
    """A hotel guest."""

    name: str
    nights: int = Field(ge=1, le=30)
    room: Literal["single", "double"]


def main() -> None:
    base_model, nudging_model = demo_pair()
    llm = NudgingLLM(base_model=base_model, nudging_model=nudging_model, max_tokens=64)
    prompt = PromptTemplate("Which reservation is asked for?\n{letter}")
    letter = "My name is Ada Lovelace. I would like a double room for 3 nights."
    print(llm.structured_predict(Guest, prompt, letter=letter))
    for guest in llm.stream_structured_predict(Guest, prompt, letter=letter):
        print(guest)


if __name__ == "__main__":
    main()
