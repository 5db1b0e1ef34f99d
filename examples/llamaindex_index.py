"""A LlamaIndex vector index of the documents, with real embeddings that need no network."""

from documents import DOCUMENTS
from embeddings import MiniLM
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import PrivateAttr


class LocalEmbedding(BaseEmbedding):
    """Adapts `MiniLM` to LlamaIndex."""

    _model: MiniLM = PrivateAttr(default_factory=MiniLM)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._model.embed_query(text)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._model.embed_documents(texts)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._model.embed_query(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


def build_index(texts: list[str] = DOCUMENTS) -> VectorStoreIndex:
    return VectorStoreIndex.from_documents([Document(text=text) for text in texts], embed_model=LocalEmbedding())
