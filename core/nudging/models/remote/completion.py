"""A completion: the request of a session, in no server's words, and how the reply to it is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from nudging.models.base import Sampling
from nudging.step import Step

LEAST_TOP_P = 1e-6
"""The `top_p` that stands for 0, which some servers refuse. It too leaves only the most probable token."""


class CutOffError(Exception):
    """The stream ended before the completion did."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A text to continue.

    Args:
        prompt: The prompt of the session.
        answer: The answer so far.
        limit: Maximum number of tokens.
        special_tokens: True if the prompt gets the tokenizer's own special tokens (BOS).
        sampling: How tokens are sampled. None decodes greedily.
        seed: The seed of this request, if tokens are sampled.
        listed: Number of most probable tokens to list at each position, 1 or more.
        tokens: The tokens of prompt and answer, for a server that takes tokens.
        first: The characters with which the first token may begin, as a character class of a regular expression.
        stop_below: The server may end the completion after a token whose top probability is below this.
        skip: Number of tokens after which it does not.
    """

    prompt: str
    answer: str
    limit: int
    special_tokens: bool
    sampling: Sampling | None = None
    seed: int = 0
    listed: int = 1
    tokens: Sequence[int] = ()
    first: str | None = None
    stop_below: float = 0.0
    skip: int = 0

    @property
    def text(self) -> str:
        """The prompt and the answer so far."""
        return self.prompt + self.answer

    @property
    def drawing(self) -> dict[str, Any]:
        """How tokens are sampled, by the names that most servers have. Empty if they are not."""
        if self.sampling is None:
            return {}
        top_p = max(self.sampling.top_p, LEAST_TOP_P)
        return {"temperature": self.sampling.temperature, "top_p": top_p, "seed": self.seed}


class Parser(Protocol):
    """Reads the chunks of one reply."""

    def push(self, chunk: Any) -> list[Step]:
        """Return the steps of a chunk.

        Raises:
            UnsupportedModelError: The server sends no log-probabilities.
            pydantic.ValidationError: The chunk has not the shape that this kind of server sends.
        """

    def check_finished(self) -> None:
        """Raise if the completion is unfinished after the last chunk.

        Raises:
            CutOffError: No chunk said why the completion ended.
        """


@dataclass(frozen=True, slots=True)
class StreamedRequest:
    """A request in the words of one kind of server.

    Args:
        path: The path of the endpoint, from the root of the server.
        body: The body.
        parser: Returns a parser for the reply.
        is_streamed: False if the reply is one chunk.
        is_ndjson: True if the chunks are lines of JSON. Otherwise they are server-sent events.
        session: The session's id, by which a router can choose the replica.
    """

    path: str
    body: Mapping[str, Any] = field(repr=False)
    parser: Callable[[], Parser]
    is_streamed: bool = True
    is_ndjson: bool = False
    session: str = ""
