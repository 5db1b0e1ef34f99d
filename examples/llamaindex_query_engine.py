"""A LlamaIndex query engine over a few documents, answered by a nudged model.

python examples/llamaindex_query_engine.py
"""

from documents import DOCUMENTS, Search
from llama_index.core import QueryBundle, get_response_synthesizer
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, TextNode
from nudging.models.demo import demo_pair

from llamaindex_nudging import NudgingLLM


class BM25Retriever(BaseRetriever):
    """A retriever that runs offline and needs no embeddings. Any other retriever works too."""

    def __init__(self, search: Search) -> None:
        super().__init__()
        self._search = search

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(text=text)) for text in self._search.best(query_bundle.query_str)]


def build_query_engine(llm: NudgingLLM, streaming: bool = False) -> RetrieverQueryEngine:
    synthesizer = get_response_synthesizer(llm=llm, streaming=streaming)
    return RetrieverQueryEngine(retriever=BM25Retriever(Search(DOCUMENTS)), response_synthesizer=synthesizer)


def main() -> None:
    base_model, nudging_model = demo_pair()
    engine = build_query_engine(NudgingLLM(base_model=base_model, nudging_model=nudging_model, max_tokens=64))
    print(engine.query("How tall is the Eiffel Tower?"))


if __name__ == "__main__":
    main()
