"""A LangChain chain on a nudged model: prompt | model | parser, streamed.

    python examples/langchain_chain.py

Uses the demo pair. Replace it with your own models, by hub id or folder.
"""

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable
from nudging.models.demo import demo_pair

from langchain_nudging import ChatNudging


def build_chain(chat: ChatNudging) -> Runnable[dict[str, str], str]:
    prompt = ChatPromptTemplate.from_messages(
        [("system", "You are a helpful assistant."), ("human", "What is the capital of {country}?")]
    )
    return prompt | chat | StrOutputParser()


def main() -> None:
    base_model, nudging_model = demo_pair()
    chain = build_chain(ChatNudging(base_model=base_model, nudging_model=nudging_model, max_tokens=64))
    for text in chain.stream({"country": "France"}):
        print(text, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
