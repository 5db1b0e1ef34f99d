"""A LangChain agent that decides by itself to call a tool. A second nudging model words the answer.

python examples/langchain_agent.py
"""

from collections.abc import Callable

from langchain.agents import create_agent
from langchain.agents.middleware import ModelRequest, ModelResponse, wrap_model_call
from langchain_core.messages import HumanMessage, ToolMessage
from nudging.models.demo import demo_pair, tool_pair

from langchain_nudging import ChatNudging

STOCK = {"apples": 31, "pears": 74}


def stock_level(product: str) -> int:
    """Get how many pieces of a product are in stock."""
    return STOCK[product]


@wrap_model_call
def answer_from_result(request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]) -> ModelResponse:
    # the small tool model would repeat its call, so SmolLM2 words the answer once the tool has returned
    if isinstance(request.messages[-1], ToolMessage):
        chat = ChatNudging(base_model=demo_pair()[0], nudging_model=demo_pair()[1], max_tokens=32)
        request = request.override(model=chat, tools=[])
    return handler(request)


def main() -> None:
    chat = ChatNudging(base_model=tool_pair()[0], nudging_model=tool_pair()[1], max_tokens=48)
    agent = create_agent(chat, [stock_level], middleware=[answer_from_result])
    print(agent.invoke({"messages": [HumanMessage("How many pears are in stock?")]})["messages"][-1].text)


if __name__ == "__main__":
    main()
