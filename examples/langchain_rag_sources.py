"""Retrieval-augmented generation that names its sources: a FAISS vector store, real embeddings, a nudged answer.

python examples/langchain_rag_sources.py
"""

from typing import Any

from documents import DOCUMENTS
from embeddings import MiniLM
from langchain_community.vectorstores import FAISS
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableParallel, RunnablePassthrough
from nudging.models.demo import demo_pair

from langchain_nudging import ChatNudging

PROMPT = "Answer the question from this context.\n\nContext: {context}\n\nQuestion: {question}"


def build_chain(chat: ChatNudging) -> Runnable[str, dict[str, Any]]:
    sources = [{"source": f"documents.py, document {number}"} for number, _ in enumerate(DOCUMENTS, start=1)]
    store = FAISS.from_texts(DOCUMENTS, MiniLM(), metadatas=sources)
    found = RunnableParallel(documents=store.as_retriever(search_kwargs={"k": 1}), question=RunnablePassthrough())
    answer = ChatPromptTemplate.from_template(PROMPT) | chat | StrOutputParser()
    with_context = found | RunnablePassthrough.assign(context=lambda found: found["documents"][0].page_content)
    return with_context | RunnablePassthrough.assign(answer=answer)


def main() -> None:
    base_model, nudging_model = demo_pair()
    chain = build_chain(ChatNudging(base_model=base_model, nudging_model=nudging_model, max_tokens=48))
    result = chain.invoke("Which building in Italy could hold a crowd?")
    print(result["answer"], *[document.metadata["source"] for document in result["documents"]], sep="\n")


if __name__ == "__main__":
    main()
