"""Retrieval-augmented generation with LangChain: a chain that finds a document and answers from it.

python examples/langchain_rag.py
"""

from documents import DOCUMENTS, Search
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from nudging.models.demo import demo_pair

from langchain_nudging import ChatNudging

PROMPT = """Context information is below.
---------------------
{context}
---------------------
Given the context information and not prior knowledge, answer the query.
Query: {question}
Answer: """


def build_chain(chat: ChatNudging) -> Runnable[str, str]:
    prompt = ChatPromptTemplate.from_messages([("system", "You are a helpful assistant."), ("human", PROMPT)])
    retriever = RunnableLambda(Search(DOCUMENTS).best)  # BM25 runs offline; any retriever works
    context = retriever | "\n\n".join
    return {"context": context, "question": RunnablePassthrough()} | prompt | chat | StrOutputParser()


def main() -> None:
    base_model, nudging_model = demo_pair()
    chain = build_chain(ChatNudging(base_model=base_model, nudging_model=nudging_model, max_tokens=64))
    print(chain.invoke("How tall is the Eiffel Tower?"))


if __name__ == "__main__":
    main()
