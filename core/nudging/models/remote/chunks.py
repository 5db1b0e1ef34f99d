"""Turn the chunks of a streamed completion into steps. Pure, no I/O."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nudging.errors import UnsupportedModelError
from nudging.step import Step


class CutOffError(Exception):
    """The stream ended before the completion did."""


class ChunkParser:
    """Parses the chunks of one completion into steps.

    A chunk has text, and tokens with their log-probabilities. A token that leaves a character unfinished is an empty
    string, and the one that finishes the character brings all of it. Some servers list the end token (vLLM) and some
    do not (llama.cpp); it is never part of the text. The same holds for other special tokens.
    """

    def __init__(self) -> None:
        self._finished = False

    def push(self, chunk: Any) -> list[Step]:
        """Return the steps of a chunk.

        Raises:
            UnsupportedModelError: The server sends no log-probabilities.
        """
        steps: list[Step] = []
        for choice in chunk.choices:
            reason, found = choice.finish_reason, choice.logprobs
            self._finished = self._finished or reason is not None
            if found is None and choice.text:
                raise UnsupportedModelError(
                    "it sends no log-probabilities with completions, and nudging needs them. Use a server with "
                    "`logprobs` in /v1/completions (vLLM, SGLang), and check that they are not turned off"
                )
            texts = _in_text(found.tokens or [], choice.text) if found else []
            probabilities = _probabilities(found) if found else []
            steps += [Step(text, top, sampled=own) for text, (top, own) in zip(texts, probabilities, strict=True)]
            if reason == "stop":
                listed = steps and not steps[-1].text and found and found.tokens
                last = steps.pop() if listed else Step("", 1.0)
                steps.append(replace(last, text="", end=True))
        return steps

    def check_finished(self) -> None:
        """Raise if the completion is unfinished after the last chunk.

        Raises:
            CutOffError: No chunk had a finish reason.
        """
        if not self._finished:
            raise CutOffError("the stream ended in the middle of the completion")


def _in_text(tokens: Sequence[str], text: str) -> list[str]:
    """Return what each token adds to the text: the token itself, or nothing for a special token."""
    added, at = [], 0
    for token in tokens:
        mine = token if text.startswith(token, at) else ""
        added.append(mine)
        at += len(mine)
    if at < len(text):  # the server's token strings differ from its text: the text is right
        added[-1:] = [(added[-1] if added else "") + text[at:]]
    return added


def _probabilities(found: Any) -> list[tuple[float, float]]:
    """Return the probability of the top token and of the token itself at each position, in [0, 1]."""
    listed = found.top_logprobs or [{} for _ in found.tokens]
    pairs = zip(listed, found.token_logprobs, strict=True)
    logprobs = [(max([*(top or {}).values(), own]), own) for top, own in pairs]
    return [(min(1.0, math.exp(top)), min(1.0, math.exp(own))) for top, own in logprobs]
