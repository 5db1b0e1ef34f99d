"""A LlamaIndex agent that decides by itself to call a tool, and returns the tool's result.

python examples/llamaindex_agent.py
"""

import asyncio

from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ToolCallResult
from llama_index.core.tools import FunctionTool
from nudging.models.demo import tool_pair

from llamaindex_nudging import NudgingLLM


def stock_level(product: str) -> str:
    """Get how many pieces of a product are in stock."""
    return f"{ {'apples': 31, 'pears': 74}[product] } {product} are in stock."


async def main() -> None:
    base_model, nudging_model = tool_pair()
    llm = NudgingLLM(base_model=base_model, nudging_model=nudging_model, max_tokens=48)
    # return_direct, because the small tool model would repeat its call instead of wording an answer
    tool = FunctionTool.from_defaults(stock_level, return_direct=True)
    agent = FunctionAgent(name="shop", description="Knows the stock", tools=[tool], llm=llm)
    run = AgentWorkflow(agents=[agent]).run("How many pears are in stock?")
    async for event in run.stream_events():
        if isinstance(event, ToolCallResult):
            print(f"{event.tool_name}({event.tool_kwargs}) = {event.tool_output}")
    print(await run)


if __name__ == "__main__":
    asyncio.run(main())
