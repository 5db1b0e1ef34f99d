"""A tiny model that decodes as servers do: with penalties, biases, regular expressions, and seeds. No cache, no engine.

The stand-ins for servers use it. It shares no code with the models of `nudging`, and is exact but slow.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import regex
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer

PART = "\ufffd"
"""The text of a token that is only a part of a character."""


@dataclass(frozen=True)
class Listed:
    """A token that a server lists: its id, its own text, and its log-probability."""

    id: int
    text: str
    logprob: float
    special: bool


@dataclass(frozen=True)
class Decoded:
    """A decoded token.

    Args:
        token: The token.
        top: The most probable tokens at its position, best first.
        text: The text that it adds: "" within a character, the whole character with its last token.
        end: True if it is the end token.
    """

    token: Listed
    top: tuple[Listed, ...]
    text: str
    end: bool


@dataclass(frozen=True)
class Decoding:
    """How a request is decoded. The defaults are neutral.

    Args:
        limit: Maximum number of tokens.
        top: Number of tokens to list at each position.
        temperature: 0 decodes greedily.
        top_k: 0 or less keeps all tokens.
        top_p: 1 keeps all tokens.
        min_p: 0 keeps all tokens.
        repetition_penalty: 1 changes nothing.
        bias: Values that are added to the logits of tokens.
        pattern: A regular expression for the whole answer.
        seed: Seed of the request. None draws one.
        reports: The logits whose log-probabilities are listed: the model's own ("raw"), those after penalties, bias and
            pattern ("processed"), or those that are also divided by the temperature ("tempered").
    """

    limit: int
    top: int = 1
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    bias: Mapping[int, float] = field(default_factory=dict)
    pattern: str | None = None
    seed: int | None = None
    reports: Literal["raw", "processed", "tempered"] = "raw"


class TinyDecoder:
    """A model and its tokenizer.

    Args:
        folder: The model's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.context: int = self._model.config.max_position_embeddings
        self.end: int = self.tokenizer.eos_token_id

    def encode(self, text: str, special_tokens: bool) -> list[int]:
        """Return the tokens of a text. Special tokens in it are recognised."""
        return list(self.tokenizer.encode(text, add_special_tokens=special_tokens))

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return a conversation in the model's chat template."""
        return str(self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))

    def scores(self, ids: Sequence[int]) -> list[float | None]:
        """Return the log-probability of each token given those before it. The first one has none."""
        logprobs = _log_softmax(self._logits(ids))
        return [None, *(float(logprobs[at, token]) for at, token in enumerate(ids[1:]))]

    def decode(self, ids: Sequence[int], how: Decoding) -> Iterator[Decoded]:
        """Yield the tokens that follow, up to the end token or the limit."""
        ids, draw = list(ids), np.random.default_rng(how.seed)
        prompt, shown = len(ids), ""
        for _ in range(min(how.limit, self.context - len(ids))):
            raw = self._logits(ids)[-1]
            processed = self._processed(raw, ids, shown, how)
            token = _chosen(processed, how, draw)
            reported = {"raw": raw, "processed": processed, "tempered": processed / (how.temperature or 1.0)}
            logprobs = _log_softmax(reported[how.reports])
            best = np.argsort(-logprobs, kind="stable")[: how.top]
            whole = self._text([*ids[prompt:], token])
            text = "" if token == self.end or whole.endswith(PART) else whole[len(shown) :]
            listed = [self._listed(one, logprobs) for one in (token, *best.tolist())]
            yield Decoded(listed[0], tuple(listed[1:]), text, token == self.end)
            if token == self.end:
                return
            ids, shown = [*ids, token], shown + text

    def _processed(self, raw: NDArray[Any], ids: Sequence[int], written: str, how: Decoding) -> NDArray[Any]:
        logits = raw.copy()
        if how.repetition_penalty != 1.0:
            seen = sorted(set(ids))
            positive = logits[seen] > 0
            logits[seen] *= np.where(positive, 1 / how.repetition_penalty, how.repetition_penalty)
        for token, value in how.bias.items():
            logits[token] += value
        if how.pattern is not None:
            allowed = _allowed(how.pattern)
            texts = [self._text([token]) for token in range(len(logits))]
            keep = [
                allowed(written, end=True) if token == self.end else bool(text) and allowed(written + text, end=False)
                for token, text in enumerate(texts)
            ]
            logits[~np.array(keep)] = -np.inf
        return logits

    def _logits(self, ids: Sequence[int]) -> NDArray[Any]:
        with torch.no_grad():
            logits: NDArray[Any] = self._model(torch.tensor([list(ids)]), use_cache=False).logits[0].double().numpy()
        return logits

    def _text(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _listed(self, token: int, logprobs: NDArray[Any]) -> Listed:
        special = token in self.tokenizer.all_special_ids
        return Listed(token, str(self.tokenizer.decode([token])), float(logprobs[token]), special)


def _chosen(logits: NDArray[Any], how: Decoding, draw: np.random.Generator) -> int:
    """Return the top token, or one that is drawn from those that the settings keep."""
    if how.temperature == 0:
        return int(logits.argmax())
    probabilities = np.exp(_log_softmax(logits / how.temperature))
    order = np.argsort(-probabilities, kind="stable")
    sorted_ = probabilities[order]
    keep = (np.cumsum(sorted_) - sorted_ < how.top_p) & (sorted_ >= how.min_p * sorted_[0])
    if how.top_k > 0:
        keep[how.top_k :] = False
    kept = np.where(keep, sorted_, 0)
    return int(draw.choice(order, p=kept / kept.sum()))


def _allowed(pattern: str) -> Callable[..., bool]:
    """Return a function that says if a text may stand at the start of a match, or be a whole one at the end."""
    compiled = regex.compile(pattern)
    return lambda text, end: compiled.fullmatch(text, partial=not end) is not None


def _log_softmax(logits: NDArray[Any]) -> NDArray[Any]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    found: NDArray[Any] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found
