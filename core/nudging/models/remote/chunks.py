"""A streamed completion as steps: what OpenAI-compatible servers report of tokens, put in order. Pure, no I/O."""

import math
from collections.abc import Sequence
from typing import Any

from nudging.errors import UnsupportedModelError
from nudging.rule import Step


class CutOffError(Exception):
    """A stream that ended before the completion did."""


class Reading:
    """The steps of one completion, from its chunks.

    Servers report a chunk's text, and its tokens with their log-probabilities. A token that leaves a character
    unfinished comes as an empty string, and the one that finishes it brings the whole. The end token is listed by some
    (vLLM) and not by others (llama.cpp), and never part of the text; the same goes for other special tokens.
    """

    def __init__(self) -> None:
        self._finished = False

    def push(self, chunk: Any) -> list[Step]:
        """The steps that a chunk brings.

        Raises:
            UnsupportedModelError: The server sends no log-probabilities.
        """
        steps: list[Step] = []
        for choice in chunk.choices:
            reason, found = choice.finish_reason, choice.logprobs
            self._finished = self._finished or reason is not None
            if found is None and choice.text:
                raise UnsupportedModelError(
                    "it sends no log-probabilities with completions, which nudging decides by: take a server that has "
                    "`logprobs` in /v1/completions (vLLM, llama.cpp, SGLang), and see that they are not turned off"
                )
            texts = _in_text(found.tokens or [], choice.text) if found else []
            sure = _top(found) if found else []
            steps += [Step(text, probability) for text, probability in zip(texts, sure, strict=True)]
            if reason == "stop":
                listed = steps and not steps[-1].text and found and found.tokens
                last = steps.pop() if listed else Step("", 1.0)
                steps.append(Step("", last.probability, end=True))
        return steps

    def check_finished(self) -> None:
        """Once the chunks have ended.

        Raises:
            CutOffError: The completion has not.
        """
        if not self._finished:
            raise CutOffError("the stream ended in the middle of the completion")


def _in_text(tokens: Sequence[str], text: str) -> list[str]:
    """What each token adds to the text: itself, or nothing if it is a special one."""
    added, at = [], 0
    for token in tokens:
        mine = token if text.startswith(token, at) else ""
        added.append(mine)
        at += len(mine)
    if at < len(text):  # a server whose token strings are not what it writes: the text is right
        added[-1:] = [(added[-1] if added else "") + text[at:]]
    return added


def _top(found: Any) -> list[float]:
    """The top token's probability at each position, in [0, 1]."""
    listed = found.top_logprobs or [{} for _ in found.tokens]
    pairs = zip(listed, found.token_logprobs, strict=True)
    return [min(1.0, math.exp(max([*(top or {}).values(), own]))) for top, own in pairs]
