"""A few documents, and a BM25 search that needs no network."""

from rank_bm25 import BM25Okapi

DOCUMENTS = [
    "The Eiffel Tower was completed in 1889. It is 330 metres tall and stands in Paris.",
    "The Colosseum in Rome was opened in the year 80 and held about 50,000 spectators.",
    "The Brandenburg Gate in Berlin was built between 1788 and 1791 by order of Frederick William II.",
]


class Search:
    """A BM25 search: finds the documents whose words match a question best."""

    def __init__(self, documents: list[str]) -> None:
        self.documents = documents
        self._index = BM25Okapi([_words(document) for document in documents])

    def best(self, question: str, count: int = 1) -> list[str]:
        best: list[str] = self._index.get_top_n(_words(question), self.documents, n=count)
        return best


def _words(text: str) -> list[str]:
    return [word.strip(".,?").lower() for word in text.split()]
