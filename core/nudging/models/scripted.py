"""A model without weights, for tests: it writes a script."""

import json
import math
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, TypeAlias
from zlib import crc32

from jinja2 import TemplateError

from nudging.answer import Author, ModelUsage, TokenLogprob
from nudging.errors import ChatTemplateError
from nudging.grammar.grammar import Grammar
from nudging.models.base import Hint, Model, Sampling, Session, Tokenizer
from nudging.prompting.conversation import Message
from nudging.prompting.instructions import with_tools
from nudging.prompting.templates import render_template
from nudging.step import Alternative, FittedText, Step

Script: TypeAlias = str | Callable[[str, str], Sequence[Step]]


class ScriptedModel(Model):
    """A model for tests of chains. It shows that a chain is wired correctly, not that nudging works.

    Under a grammar it writes as much of its script as the grammar allows, and the answer is completed. A script that is
    JSON may have any white space.

    If both models have the same text as their script, the answer is that text:

        >>> from nudging import Nudger, ScriptedModel
        >>> hello = ScriptedModel("Hello there, how can I help?")
        >>> Nudger(base_model=hello, nudging_model=hello).generate("Hi").text
        'Hello there, how can I help?'

    Args:
        script: A text, of which the model writes the part after the answer so far, word by word, and then ends its
            turn; or a function (prompt, answer so far) -> next steps.
        probability: The probability of every word, if the script is a text, in [0, 1].
        context_length: The maximum number of words of prompt and answer together.
        name: The model's name, also in cache keys.
    """

    def __init__(
        self, script: Script, *, probability: float = 1.0, context_length: int = 1_000_000, name: str = "scripted"
    ) -> None:
        self.name = name
        self._script, self.probability, self._context_length = script, probability, context_length

    def __repr__(self) -> str:
        return f"ScriptedModel({self._script!r}, name={self.name!r})"

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"name": self.name, "script": self._script, "probability": self.probability}

    @property
    def tokenizer(self) -> "ScriptedTokenizer":
        return ScriptedTokenizer()

    @property
    def context_length(self) -> int:
        return self._context_length

    def session(
        self,
        prompt: str,
        *,
        author: Author,
        sampling: Sampling | None = None,
        grammar: Grammar | None = None,
        alternatives: int = 0,
    ) -> "ScriptedSession":
        self.check_prompt_length(len(_words(prompt)), author)
        return ScriptedSession(self, prompt, grammar if grammar and not grammar.lazy else None, alternatives)

    def steps(self, prompt: str, text: str, grammar: Grammar | None = None) -> Iterable[Step]:
        """Return the next steps of the script after this prompt and this answer so far."""
        if grammar is not None:
            return _allowed(self._written(prompt, text, is_json=grammar.is_json), text, grammar)
        return self._written(prompt, text)

    def _written(self, prompt: str, text: str, is_json: bool = False) -> Sequence[Step]:
        if callable(self._script):
            return self._script(prompt, text)
        script = _respaced(self._script) if is_json else self._script
        rest = script.removeprefix(text) if script.startswith(text) else ""
        return [*(Step(word, self.probability) for word in _words(rest)), Step("", self.probability, end=True)]


class ScriptedTokenizer(Tokenizer):
    """A tokenizer whose tokens are words, each with the space before it."""

    def encode(self, text: str, *, special_tokens: bool) -> list[int]:
        return [crc32(word.encode()) for word in _words(text)]

    def render(
        self, messages: Sequence[Message], template: str | None = None, tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        template = template or "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "
        try:
            return render_template(template, with_tools(messages, tools))
        except TemplateError as error:
            raise ChatTemplateError(f"the nudging template fails: {error}") from error


class ScriptedSession(Session):
    """A scripted model, decoding one answer. Its tokens are words, each with the space before it."""

    def __init__(self, model: ScriptedModel, prompt: str, grammar: Grammar | None, alternatives: int) -> None:
        self._model, self._prompt, self._grammar, self._alternatives = model, prompt, grammar, alternatives
        self._steps = 0

    def steps(self, text: str, limit: int, hint: Hint | None = None) -> Generator[Step, None, None]:
        limit = min(limit, self._model.context_length - len(_words(self._prompt + text)))
        for _, step in zip(range(limit), self._model.steps(self._prompt, text, self._grammar), strict=False):
            self._steps += 1
            if self._alternatives and not step.alternatives:
                step = replace(step, alternatives=(Alternative(step.text, step.own_probability, step.end),))
            yield step
            if step.end:
                return

    def fit(self, text: str, limit: int) -> FittedText:
        words = _words(text)
        ends = [0, *accumulate(map(len, words))]
        return FittedText(text[: ends[min(limit, len(words))]], min(limit, len(words)))

    def score(self, text: str, start: str = "", alternatives: int = 0) -> list[TokenLogprob]:
        logprob = math.log(self._model.probability) if self._model.probability else -math.inf
        words = _words(text[len(start) :])
        return [TokenLogprob(word, logprob, (TokenLogprob(word, logprob),) if alternatives else ()) for word in words]

    def usage(self) -> ModelUsage:
        return ModelUsage(len(_words(self._prompt)), self._steps, self._steps)


def _allowed(steps: Iterable[Step], text: str, grammar: Grammar) -> Iterator[Step]:
    """Yield the steps after `text`, as far as the grammar allows them. The script ends where nothing more is needed."""
    from nudging.grammar.text_matcher import TextMatcher  # needs llguidance

    matcher = TextMatcher(grammar)
    matcher.seek(text.encode())
    for step in steps:
        written = step.text.encode()
        allowed = matcher.take(written)
        if allowed < len(written):
            if allowed:
                yield replace(step, text=written[:allowed].decode(errors="ignore"))
            if matcher.can_end:
                yield replace(step, text="", end=True)
            return
        yield step


def _respaced(script: str) -> str:
    """Return JSON with the white space that grammars have: one space after a comma or a colon."""
    try:
        return json.dumps(json.loads(script), ensure_ascii=False)
    except ValueError:
        return script.strip()


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)
