"""A LangChain agent that decides by itself to call a tool: one nudging model calls, another says what was found.

python examples/langchain_agent.py
"""

from collections.abc import Callable
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import ModelRequest, ModelResponse, wrap_model_call
from langchain_core.messages import ToolMessage
from nudging.demo import demo_pair, tool_pair

from langchain_nudging import ChatNudging


def stock_level(product: str) -> str:
    """Get how many kilograms of a product are in stock."""
    return f"There are {len(product) * 15 - 1} kg of {product} in stock."


@wrap_model_call
def say_what_was_found(request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]) -> Any:
    # so small a model that knows tools repeats its call; SmolLM2 puts what the tool returned into words
    if isinstance(request.messages[-1], ToolMessage):
        base_model, nudging_model = demo_pair()
        chat = ChatNudging(base_model=base_model, nudging_model=nudging_model, max_tokens=32)
        request = request.override(model=chat, tools=[])
    return handler(request)


def main() -> None:
    base_model, nudging_model = tool_pair()
    chat = ChatNudging(base_model=base_model, nudging_model=nudging_model, max_tokens=64)
    agent = create_agent(chat, [stock_level], middleware=[say_what_was_found])
    for message in agent.invoke({"messages": [("human", "How many kilograms of pears are in stock?")]})["messages"]:
        message.pretty_print()


if __name__ == "__main__":
    main()
