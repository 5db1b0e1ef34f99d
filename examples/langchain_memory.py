"""Memory over several turns: LangGraph keeps the conversation of a thread, and each question continues it.

python examples/langchain_memory.py
"""

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from nudging.models.demo import demo_pair

from langchain_nudging import ChatNudging

QUESTIONS = ["What is the capital of France?", "And of Italy?"]


def build_graph(chat: ChatNudging) -> CompiledStateGraph[MessagesState]:
    def answer(state: MessagesState) -> dict[str, list[AIMessage]]:
        return {"messages": [chat.invoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("model", answer).add_edge(START, "model")
    return graph.compile(checkpointer=InMemorySaver())


def main() -> None:
    base_model, nudging_model = demo_pair()
    graph = build_graph(ChatNudging(base_model=base_model, nudging_model=nudging_model, max_tokens=32))
    thread: RunnableConfig = {"configurable": {"thread_id": "1"}}
    for question in QUESTIONS:
        print(graph.invoke({"messages": [HumanMessage(question)]}, thread)["messages"][-1].content)


if __name__ == "__main__":
    main()
