"""A LlamaIndex ReAct agent. The models were not trained for tools: one example in the prompt is enough.

python examples/llamaindex_react_agent.py
"""

import asyncio

from llama_index.core.agent.react import ReActChatFormatter
from llama_index.core.agent.workflow import ReActAgent
from nudging.models.demo import demo_pair

from llamaindex_nudging import NudgingLLM

PROMPT = """Answer questions about a shop with this tool:
{tool_desc}

Question: How many apples are in stock?
Thought: I need to use a tool to help me answer the question.
Action: stock_level
Action Input: {{"product": "apples"}}
Observation: 31
Thought: I can answer without using any more tools.
Answer: There are 31 apples in stock.
"""


def stock_level(product: str) -> int:
    """Get how many pieces of a product are in stock."""
    return {"apples": 31, "pears": 74}[product]


async def main() -> None:
    base, nudging = demo_pair()
    llm = NudgingLLM(base_model=base, nudging_model=nudging, max_tokens=64, stop=("Observation:", "\nQuestion:"))
    agent = ReActAgent(tools=[stock_level], llm=llm, formatter=ReActChatFormatter(system_header=PROMPT))
    print(await agent.run("Question: How many pears are in stock?"))


if __name__ == "__main__":
    asyncio.run(main())
