"""What comes back: pieces of text, who wrote each, why the answer ended, and what it cost."""

from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from nudging.display import as_html, as_rich
from nudging.tools.parsing import InvalidToolCall, Reading, ToolCall

if TYPE_CHECKING:
    from rich.text import Text

Author: TypeAlias = Literal["base", "nudging"]
FinishReason: TypeAlias = Literal["stop", "length", "loop"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Settled text with one author.

    Args:
        text: Never empty, always whole characters.
        author: The model that wrote it.
        tokens: Its length in base-model tokens.
        round: The round of the rule that brought it, from 0. A round is some nudging words and the base run after them.
    """

    text: str
    author: Author
    tokens: int
    round: int


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What one model did for one answer.

    Args:
        prompt_tokens: Length of its prompt, in its own tokens.
        forward_passes: Forward passes, prefill included.
        tokens_fed: Tokens that went through those passes. What was found in the KV cache is not among them. What a
            server found there is not known: of its passes one token each is counted.
        requests: To a server.
    """

    prompt_tokens: int = 0
    forward_passes: int = 0
    tokens_fed: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost.

    Args:
        prompt_tokens: Length of the base prompt, in base-model tokens.
        completion_tokens: Length of the answer, in base-model tokens: the sum over its pieces.
        base: What the base model did.
        nudging: What the nudging model did.
    """

    prompt_tokens: int
    completion_tokens: int
    base: ModelUsage
    nudging: ModelUsage

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """What the base model thinks of one token of an answer.

    Args:
        token: Its text. Empty where it leaves a character unfinished; the token that finishes it has all of it.
        logprob: Natural logarithm of its probability after prompt and answer so far, before temperature and grammar.
    """

    token: str
    logprob: float


@dataclass(frozen=True)
class Answer:
    """A nudged answer.

    Args:
        pieces: What `Nudger.stream` yields, in order.
        finish_reason: "stop" (the nudging model ended its turn, or a stop string came), "length" (`max_tokens`, or the
            end of a context), "loop" (the same nudging words four rounds running), or None while it is being written.
        usage: What it cost so far.
        reading: Its content and the tool calls in it, if tools were given.
        logprobs: Of the answer's base-model tokens, if they were asked for and it is complete.
    """

    pieces: tuple[Piece, ...]
    finish_reason: FinishReason | None
    usage: Usage
    reading: Reading | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def content(self) -> str:
        """The text without the tool calls in it."""
        return self.reading.content if self.reading else self.text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls of tools that were given."""
        return self.reading.tool_calls if self.reading else ()

    @property
    def invalid_tool_calls(self) -> tuple[InvalidToolCall, ...]:
        """What was meant as a call and is none."""
        return self.reading.invalid_tool_calls if self.reading else ()

    @property
    def nudge_ratio(self) -> float:
        """Share of the answer's tokens that the nudging model wrote, in [0, 1]."""
        tokens = sum(piece.tokens for piece in self.pieces)
        nudged = sum(piece.tokens for piece in self.pieces if piece.author == "nudging")
        return nudged / tokens if tokens else 0.0

    @property
    def nudging_words(self) -> list[str]:
        """What the nudging model wrote, round by round."""
        words = [piece for piece in self.pieces if piece.author == "nudging"]
        return ["".join(piece.text for piece in group) for _, group in groupby(words, key=lambda piece: piece.round)]

    @property
    def rounds(self) -> list[str]:
        """The answer's text, round by round: nudging words and the base run after them."""
        return ["".join(piece.text for piece in group) for _, group in groupby(self.pieces, key=lambda p: p.round)]

    def to_dict(self) -> dict[str, Any]:
        """The answer as plain data, for JSON."""
        return {
            "text": self.text,
            "finish_reason": self.finish_reason,
            "nudge_ratio": self.nudge_ratio,
            "nudging_words": self.nudging_words,
            **({"tool_calls": [asdict(call) for call in self.tool_calls]} if self.reading else {}),
            **({"logprobs": [asdict(token) for token in self.logprobs]} if self.logprobs is not None else {}),
            "pieces": [asdict(piece) for piece in self.pieces],
            "usage": asdict(self.usage) | {"total_tokens": self.usage.total_tokens},
        }

    def __str__(self) -> str:
        return self.text

    @property
    def summary(self) -> str:
        """Length, share nudged, and why it ended, in a line."""
        ended = f" · {self.finish_reason}" if self.finish_reason else ""
        return f"{self.usage.completion_tokens} tokens · {self.nudge_ratio:.0%} nudged{ended}"

    def _by_author(self) -> list[tuple[str, str]]:
        """Authors and what they wrote, neighbouring pieces of one author put together."""
        runs = groupby(self.pieces, key=lambda piece: piece.author)
        return [(author, "".join(piece.text for piece in run)) for author, run in runs]

    def _repr_html_(self) -> str:
        return as_html(self._by_author(), self.summary)

    def __rich__(self) -> "Text":
        return as_rich(self._by_author())
