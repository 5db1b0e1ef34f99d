"""A tool loop in LangGraph: the first turn must call a tool, the next turn answers from its result.

python examples/langgraph_tool_loop.py
"""

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from nudging.models.demo import demo_pair

from langchain_nudging import ChatNudging


def weather(city: str) -> str:
    """Get the weather in a city."""
    return f"In {city} it is snowing, at minus 7 degrees."


def build_graph(chat: ChatNudging) -> CompiledStateGraph[MessagesState]:
    def answer(state: MessagesState) -> dict[str, list[AIMessage]]:
        # a forced call is always valid under its schema, even with models that were not trained for tools
        model = (
            chat if isinstance(state["messages"][-1], ToolMessage) else chat.bind_tools([weather], tool_choice="any")
        )
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("model", answer).add_node("tools", ToolNode([weather]))
    graph.add_edge(START, "model").add_conditional_edges("model", tools_condition).add_edge("tools", "model")
    return graph.compile()


def main() -> None:
    base_model, nudging_model = demo_pair()
    graph = build_graph(ChatNudging(base_model=base_model, nudging_model=nudging_model, max_tokens=48))
    print(graph.invoke({"messages": [HumanMessage("What is the weather in Oslo?")]})["messages"][-1].content)


if __name__ == "__main__":
    main()
