"""A LangChain agent that decides by itself to look something up with a tool.

python examples/langchain_agent.py

Its nudging model, Qwen2.5-Coder-0.5B-Instruct, was trained to call tools; the base model has never seen one.
"""

from langchain.agents import create_agent
from nudging.demo import tool_pair

from langchain_nudging import ChatNudging

STOCK = {"apples": 31, "pears": 74, "plums": 12}


def stock_level(product: str) -> str:
    """Get how many kilograms of a product are in stock."""
    return f"{STOCK[product.lower()]} kg of {product}"


def main() -> None:
    base_model, nudging_model = tool_pair()
    chat = ChatNudging(base_model=base_model, nudging_model=nudging_model, max_tokens=64)
    agent = create_agent(chat, [stock_level])
    state = agent.invoke({"messages": [("human", "How many kilograms of pears are in stock?")]})
    for message in state["messages"]:
        message.pretty_print()


if __name__ == "__main__":
    main()
