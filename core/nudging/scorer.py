"""The log-probabilities of an answer's tokens while it is written."""

from nudging.answer import TokenLogprob
from nudging.models.base import Session


class Scorer:
    """Scores an answer piece by piece, with the base model, in a session of its own.

    Every token of the answer is fed once more. On a server each piece is a request.

    Args:
        session: A session of the base model, for the scorer alone.
        alternatives: The number of most probable tokens to list with each token.

    Raises:
        UnsupportedModelError: The model cannot score a given text.
    """

    def __init__(self, session: Session, alternatives: int = 0) -> None:
        session.check_score()
        self._session, self._alternatives = session, alternatives
        self._text = ""

    def score(self, piece: str) -> list[TokenLogprob]:
        """Return the log-probabilities of the tokens of the next piece of the answer."""
        start, self._text = self._text, self._text + piece
        return self._session.score(self._text, start, self._alternatives)

    def close(self) -> None:
        """Release the session."""
        self._session.close()
