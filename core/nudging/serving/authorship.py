"""The authors of an answer's text: what replies here have beyond OpenAI's."""

from pydantic import BaseModel, Field

from nudging.answer import Answer, Author


class AuthoredText(BaseModel):
    """A piece of an answer and the model that wrote it."""

    text: str
    author: Author


class Authorship(BaseModel):
    """The authors of a whole answer."""

    nudge_ratio: float = Field(description="Share of the answer's tokens that the nudging model wrote, in [0, 1]")
    rule: dict[str, str | float] = Field(description="The rule that decided who writes, and its numbers")
    pieces: list[AuthoredText]

    @classmethod
    def of(cls, answer: Answer) -> "Authorship":
        """Return the authors of an answer."""
        pieces = [AuthoredText(text=piece.text, author=piece.author) for piece in answer.pieces]
        return cls(nudge_ratio=answer.nudge_ratio, rule=dict(answer.rule), pieces=pieces)
