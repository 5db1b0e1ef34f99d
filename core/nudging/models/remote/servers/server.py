"""One kind of server: what it is asked, how it answers, and what it lacks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from nudging.answer import TokenLogprob
from nudging.errors import ServerError, UnsupportedModelError
from nudging.models.remote.client import AT_ONCE, Client, R
from nudging.models.remote.completion import Completion, StreamedRequest
from nudging.prompting.conversation import Message


class Card(BaseModel):
    """The description of a model in `/v1/models`, as far as it is used."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    id: str
    owned_by: str | None = None
    aliases: list[str] | None = None
    max_model_len: int | None = Field(
        default=None,
        validation_alias=AliasChoices("max_model_len", "context_length", "context_window", "max_context_length"),
    )
    meta: dict[str, Any] | None = None


class Server(ABC):
    """A server of one kind. A new kind is a module with one of these, and a line in `servers/__init__.py`.

    Args:
        client: The client of the server.
        card: The server's description of the model, in `/v1/models`.
    """

    kind: ClassVar[str]
    """The name of this kind, for messages."""

    most_listed: ClassVar[int] = 5
    """Maximum number of most probable tokens that it lists at each position."""

    can_choose_first: ClassVar[bool] = False
    """True if a request can say with which characters the first token may begin."""

    adds_bos: ClassVar[bool] = True
    """True if every text gets the tokenizer's own special tokens (BOS), also one that begins with them."""

    takes_tokens: ClassVar[bool] = False
    """True if it is sent the tokens of prompt and answer, and not the text."""

    at_once: ClassVar[int] = AT_ONCE
    """Maximum number of concurrent completions."""

    prefetch_below: int = 8
    """With fewer concurrent requests than this, one that may turn out to be unnecessary costs the others little."""

    can_score: ClassVar[bool] = False
    """True if it tells the log-probability of each token of a given text."""

    stops_when_unsure: bool = False
    """True if a completion ends after the first token whose top probability is below a number in the request."""

    def __init__(self, client: Client, card: Card) -> None:
        self.client, self.card = client, card
        client.limit(self.at_once)

    @property
    def context_length(self) -> int | None:
        """The maximum number of tokens of prompt and answer together, or None if the server does not tell."""
        return self.card.max_model_len

    @abstractmethod
    def request(self, completion: Completion) -> StreamedRequest:
        """Return the request for a completion in this server's words, with neutral values for all that it would change.

        Without `sampling`, the reply is the model's most probable token at each position. With it, its tokens are
        samples of the model's distribution, changed by nothing but temperature and `top_p`.
        """

    @abstractmethod
    def encode(self, text: str, special_tokens: bool) -> Sequence[int]:
        """Return the token ids of a text.

        Raises:
            UnsupportedModelError: The server does not tokenize.
        """

    def render(self, messages: Sequence[Message]) -> str:
        """Return a conversation rendered through the server's chat template.

        Raises:
            ServerError, UnsupportedModelError: The server does not render conversations, or refuses this one.
        """
        raise UnsupportedModelError(f"{self.kind} has no endpoint for chat templates")

    def tokenizer_file(self) -> Path | None:
        """Return a GGUF file on this machine with the model's tokenizer, if the server does not tokenize."""
        return None

    def score(
        self, prompt: str, answer: str, prompt_tokens: int, special_tokens: bool, alternatives: int
    ) -> list[TokenLogprob]:
        """Return the log-probability of each token of an answer, if this kind of server `can_score`.

        Args:
            prompt: The text before the answer.
            answer: The answer.
            prompt_tokens: The number of the server's tokens of the prompt.
            special_tokens: True if the prompt gets the tokenizer's own special tokens (BOS).
            alternatives: The number of most probable tokens to list with each token, if this kind of server lists them.
        """
        raise NotImplementedError

    def check_score(self) -> None:
        """Raise if this kind of server cannot score a given text.

        Raises:
            UnsupportedModelError: It cannot.
        """
        if not self.can_score:
            raise UnsupportedModelError(
                f"the {self.client.author} server at {self.client.url} ({self.kind}) cannot score a given text: leave "
                "logprobs out, or use vLLM, llama.cpp's server or a local model"
            )

    def post(self, path: str, body: Mapping[str, Any], shape: type[R]) -> R:
        """Return the answer of an endpoint that tokenizes or renders. See `Client.post`.

        Raises:
            UnsupportedModelError: The server has no such endpoint, or another one of this name.
        """
        try:
            return self.client.post(path, body, shape)
        except UnsupportedModelError:
            raise self.lacks(path) from None
        except ServerError as error:
            raise self.lacks(path) if error.status in (404, 405, 422, 501) else error from None

    def lacks(self, path: str) -> UnsupportedModelError:
        """Return the error for a missing endpoint that tokenizes."""
        return UnsupportedModelError(
            f"the server at {self.client.url} has no {path}, which is needed to count tokens: name the model's "
            f"tokenizer as {self.client.author}_tokenizer='…' (a hub id, a folder or a GGUF file)"
        )


def tempered(server: Server, possible: str) -> UnsupportedModelError:
    """Return the error for sampling on a server whose probabilities are those after sampling's changes.

    Args:
        server: The server.
        possible: The settings that it can be used with.
    """
    return UnsupportedModelError(
        f"the {server.client.author} server at {server.client.url} ({server.kind}) reports probabilities after "
        f"temperature and top_p, and nudging needs those of the model: use {possible}, or another kind of server"
    )
