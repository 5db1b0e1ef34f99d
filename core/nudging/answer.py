"""An answer: its pieces and their authors, the reason why it ended, and its usage."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from nudging.display import as_html, as_rich
from nudging.tools.calls import InvalidToolCall, ParsedAnswer, ToolCall

if TYPE_CHECKING:
    from rich.text import Text

Author: TypeAlias = Literal["base", "nudging"]
"""One of the two models of a pair."""

FinishReason: TypeAlias = Literal["stop", "length", "loop"]
"""The reason why an answer ended: the nudging model ended its turn or a stop string came, the answer is full, or the
same nudging words came four times in a row."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Final text with one author.

    Args:
        text: The text, in whole characters, never empty.
        author: The model that wrote it.
        tokens: Its length in base-model tokens.
        round: The number of the rule's round, from 0. A round is some nudging words and the base run after them.
    """

    text: str
    author: Author
    tokens: int
    round: int


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """The work of one model for one answer.

    Args:
        prompt_tokens: Length of its prompt, in its own tokens.
        forward_passes: Number of forward passes, prefill included.
        tokens_fed: Number of tokens in those passes, without tokens that the KV cache already held. For a model on a
            server one token is counted per pass, because the server's cache is unknown.
        requests: Number of requests to a server.
    """

    prompt_tokens: int = 0
    forward_passes: int = 0
    tokens_fed: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """The token counts of an answer.

    Args:
        prompt_tokens: Length of the base prompt, in base-model tokens.
        completion_tokens: Length of the answer, in base-model tokens: the sum over its pieces.
        base: The work of the base model.
        nudging: The work of the nudging model.
    """

    prompt_tokens: int
    completion_tokens: int
    base: ModelUsage
    nudging: ModelUsage

    @property
    def total_tokens(self) -> int:
        """The length of the base prompt and of the answer together, in base-model tokens."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The log-probability of one token of an answer, by the base model.

    Args:
        token: The token's text. Empty if it leaves a character unfinished; the token that finishes it has all of it.
        logprob: Natural logarithm of its probability after the prompt and the answer so far, before temperature and
            grammar.
        alternatives: The most probable tokens in its place, the first one first, if they were asked for.
    """

    token: str
    logprob: float
    alternatives: tuple["TokenLogprob", ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the token and its log-probability as plain data."""
        return {"token": self.token, "logprob": self.logprob}


@dataclass(frozen=True)
class Answer:
    """A nudged answer.

    Args:
        pieces: The pieces that `Nudger.stream` yields, in order.
        finish_reason: "stop" (the nudging model ended its turn, or a stop string came), "length" (`max_tokens` or a
            context is full), "loop" (the same nudging words in four rounds in a row), or None if it is unfinished.
        usage: The token counts so far.
        parsed: The answer split into content and tool calls, if there were tools.
        logprobs: The log-probabilities of its base-model tokens, if they were requested and it is complete.
        rule: The rule that decided who writes, and its numbers, by name. Empty if one model answered alone.
    """

    pieces: tuple[Piece, ...]
    finish_reason: FinishReason | None
    usage: Usage
    parsed: ParsedAnswer | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    rule: Mapping[str, str | float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The whole text, with its tool calls as the models wrote them: the texts of the pieces, joined."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def content(self) -> str:
        """The text without the tool calls."""
        return self.parsed.content if self.parsed else self.text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The well-formed tool calls, in order."""
        return self.parsed.tool_calls if self.parsed else ()

    @property
    def invalid_tool_calls(self) -> tuple[InvalidToolCall, ...]:
        """The malformed tool calls, in order."""
        return self.parsed.invalid_tool_calls if self.parsed else ()

    @property
    def nudge_ratio(self) -> float:
        """The share of the answer's tokens that the nudging model wrote, in [0, 1]."""
        tokens = sum(piece.tokens for piece in self.pieces)
        nudged = sum(piece.tokens for piece in self.pieces if piece.author == "nudging")
        return nudged / tokens if tokens else 0.0

    @property
    def nudging_words(self) -> list[str]:
        """The nudging model's words, one string per round."""
        words = [piece for piece in self.pieces if piece.author == "nudging"]
        return ["".join(piece.text for piece in group) for _, group in groupby(words, key=lambda piece: piece.round)]

    @property
    def rounds(self) -> list[str]:
        """The answer's text, one string per round: the nudging words and the base run after them."""
        return ["".join(piece.text for piece in group) for _, group in groupby(self.pieces, key=lambda p: p.round)]

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain data, for JSON."""
        return {
            "text": self.text,
            "finish_reason": self.finish_reason,
            "nudge_ratio": self.nudge_ratio,
            "rule": dict(self.rule),
            "nudging_words": self.nudging_words,
            **({"tool_calls": [asdict(call) for call in self.tool_calls]} if self.parsed else {}),
            **({"logprobs": [token.to_dict() for token in self.logprobs]} if self.logprobs is not None else {}),
            "pieces": [asdict(piece) for piece in self.pieces],
            "usage": asdict(self.usage) | {"total_tokens": self.usage.total_tokens},
        }

    def __str__(self) -> str:
        return self.text

    @property
    def summary(self) -> str:
        """Length, nudge ratio and finish reason in one line, for example "24 tokens · 17% nudged · stop"."""
        ended = f" · {self.finish_reason}" if self.finish_reason else ""
        return f"{self.usage.completion_tokens} tokens · {self.nudge_ratio:.0%} nudged{ended}"

    def _by_author(self) -> list[tuple[str, str]]:
        """Return (author, text) pairs, with neighbouring pieces of one author merged."""
        runs = groupby(self.pieces, key=lambda piece: piece.author)
        return [(author, "".join(piece.text for piece in run)) for author, run in runs]

    def _repr_html_(self) -> str:
        return as_html(self._by_author(), self.summary)

    def __rich__(self) -> "Text":
        return as_rich(self._by_author())
