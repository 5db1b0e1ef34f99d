"""A model behind an OpenAI-compatible server."""

import sys
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import jinja2
from pydantic import SecretStr

from nudging.answer import ModelUsage, TokenLogprob
from nudging.errors import (
    ChatTemplateError,
    GrammarError,
    MissingDependencyError,
    ModelNotFoundError,
    ServerError,
    UnsupportedModelError,
)
from nudging.grammar.grammar import Grammar
from nudging.models.base import Hint, Message, Model, Sampling, Session, fitted, in_thread
from nudging.models.remote.client import Server
from nudging.prompting.instructions import with_tools
from nudging.prompting.templates import render_template
from nudging.rule import Fitted, Step
from nudging.tools.parsing import Reading

if TYPE_CHECKING:
    from nudging.models.tokenizer import Tokenizer

REMEMBERED = 4096
"""Texts whose tokens are remembered."""


class RemoteModel(Model):
    """A model on a server, shared by all its sessions.

    Args:
        name: The server's name for it.
        url: Of the server's API, up to and with `/v1`.
        side: "base" or "nudging", for errors.
        api_key: If the server asks for one.
        tokenizer: A hub id, a folder or a GGUF file, for servers that do not tell of theirs.
        timeout: Seconds that a request may be without a word.
        max_retries: How often in a row a request may fail and be tried again.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        side: Literal["base", "nudging"] = "base",
        api_key: SecretStr | None = None,
        tokenizer: str | None = None,
        timeout: float = 60.0,
        max_retries: int = 6,
    ) -> None:
        self.name = name
        self.server = Server(side, url, name, api_key, timeout=timeout, max_retries=max_retries)
        self.tokenizer = _tokenizer(tokenizer) if tokenizer else None
        self._encoded = lru_cache(REMEMBERED)(self._encode)

    def __repr__(self) -> str:
        return f"RemoteModel({self.name!r}, {self.server.url!r})"

    @property
    def identity(self) -> Mapping[str, Any]:
        tokenizer = self.tokenizer.name if self.tokenizer else None
        return {"name": self.name, "url": self.server.url, "tokenizer": tokenizer}

    def load(self) -> None:
        _ = self.context_length

    @property
    def context_length(self) -> int:
        return int(self._card.get("max_model_len") or sys.maxsize)

    def session(
        self,
        prompt: str,
        *,
        role: Literal["base", "nudging"],
        sampling: Sampling | None = None,
        grammar: Grammar | None = None,
    ) -> "RemoteSession":
        if grammar is not None and not grammar.lazy:
            raise GrammarError(
                f"{grammar.meaning} needs models in this process: the {role} model {self.name} is on a server, whose "
                "tokens cannot be held to a grammar from here. Take a local pair, or ask without a schema"
            )
        tokens = len(self.encode(prompt, special_tokens=role == "base"))
        self.check_room(tokens, role)
        return RemoteSession(self, prompt, tokens, role == "base", sampling)

    def render(
        self, messages: Sequence[Message], template: str | None = None, tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        if self.tokenizer:
            return self.tokenizer.render(messages, template, tools)
        messages = with_tools(messages, tools)
        if template:
            try:
                return render_template(template, messages)
            except jinja2.TemplateError as error:
                raise ChatTemplateError(f"nudging_template fails on this conversation: {error}") from error
        return self._rendered(messages)

    def encode(self, text: str, *, special_tokens: bool) -> list[int]:
        return list(self._encoded(text, special_tokens))

    def read_calls(self, text: str, prompt: str, tools: Sequence[Mapping[str, Any]]) -> Reading | None:
        return self.tokenizer.read_calls(text, prompt, tools) if self.tokenizer else None

    @cached_property
    def _card(self) -> Mapping[str, Any]:
        """What the server says of the model, at the first contact."""
        listed = self.server.get("/v1/models").get("data") or []
        for card in listed:
            if card.get("id") == self.name:
                return dict(card)
        names = ", ".join(repr(card.get("id")) for card in listed) or "none"
        raise ModelNotFoundError(f"the server at {self.server.url} has no model {self.name!r}: it serves {names}")

    def _encode(self, text: str, special_tokens: bool) -> tuple[int, ...]:
        if not text and not special_tokens:
            return ()
        if self.tokenizer:
            return tuple(self.tokenizer.encode(text, special_tokens=special_tokens))
        body = {"prompt": text, "content": text, "add_special_tokens": special_tokens, "add_special": special_tokens}
        return tuple(self._of_tokenizer("/tokenize", body)["tokens"])

    def _rendered(self, messages: Sequence[Message]) -> str:
        """The conversation through the chat template that the server has."""
        conversation = {"messages": [dict(message) for message in messages], "add_generation_prompt": True}
        try:
            tokens = self._of_tokenizer("/tokenize", {**conversation, "add_special_tokens": False})["tokens"]
            return str(self._of_tokenizer("/detokenize", {"tokens": tokens})["prompt"])
        except (ServerError, UnsupportedModelError, KeyError) as error:
            raise ChatTemplateError(
                f"the server at {self.server.url} does not render the conversation ({error}): name the model's "
                "tokenizer as nudging_tokenizer='…' (a hub id or a folder), or pass nudging_template='…' (Jinja)"
            ) from error

    def _of_tokenizer(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            found = self.server.post(path, body)
        except ServerError as error:
            raise self._lacks(path) if error.status == 404 else error from None
        if not isinstance(found, Mapping):
            raise self._lacks(path)
        return found

    def _lacks(self, path: str) -> UnsupportedModelError:
        side = self.server.side
        return UnsupportedModelError(
            f"the server at {self.server.url} has no {path}, and tokens are counted with it: name the model's "
            f"tokenizer as {side}_tokenizer='…' (a hub id or a folder)"
        )


S = TypeVar("S")


@dataclass(frozen=True)
class _Ahead(Generic[S]):
    """Steps that are on their way before anybody has asked for them."""

    text: str
    limit: int
    steps: S

    def are(self, text: str, limit: int) -> bool:
        return (self.text, self.limit) == (text, limit)


class RemoteSession(Session):
    """A model on a server at work on one answer."""

    def __init__(
        self, model: RemoteModel, prompt: str, prompt_tokens: int, special_tokens: bool, sampling: Sampling | None
    ) -> None:
        self._model, self._prompt, self._prompt_tokens = model, prompt, prompt_tokens
        self._special_tokens, self._sampling = special_tokens, sampling
        self._requests = self._steps = 0
        self._ahead: _Ahead[Generator[Step | None, None, None]] | None = None
        self._aahead: _Ahead[AsyncGenerator[Step | None, None]] | None = None

    def steps(self, text: str, limit: int, hint: Hint | None = None) -> Generator[Step, None, None]:
        ahead, self._ahead = self._ahead, None
        if ahead and not ahead.are(text, limit):
            ahead.steps.close()
            ahead = None
        with closing(ahead.steps if ahead else self._asked(text, limit)) as steps:
            for step in steps:
                if step is not None:
                    self._steps += 1
                    yield step

    def expect(self, text: str, limit: int) -> None:
        self.close()
        if self._model.server.idle:
            self._ahead = _Ahead(text, limit, self._asked(text, limit))
            next(self._ahead.steps, None)

    def close(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead:
            ahead.steps.close()

    async def asteps(self, text: str, limit: int, hint: Hint | None = None) -> AsyncGenerator[Step, None]:
        ahead, self._aahead = self._aahead, None
        if ahead and not ahead.are(text, limit):
            await ahead.steps.aclose()
            ahead = None
        async with aclosing(ahead.steps if ahead else self._aasked(text, limit)) as steps:
            async for step in steps:
                if step is not None:
                    self._steps += 1
                    yield step

    async def aexpect(self, text: str, limit: int) -> None:
        await self.aclose()
        if self._model.server.idle:
            self._aahead = _Ahead(text, limit, self._aasked(text, limit))
            await anext(self._aahead.steps, None)

    async def aclose(self) -> None:
        ahead, self._aahead = self._aahead, None
        if ahead:
            await ahead.steps.aclose()

    def _asked(self, text: str, limit: int) -> Generator[Step | None, None, None]:
        limit = min(limit, self._room(text, limit))
        if limit > 0:
            self._requests += 1
            yield from self._model.server.completion(self._request(text, limit))

    async def _aasked(self, text: str, limit: int) -> AsyncGenerator[Step | None, None]:
        limit = min(limit, await in_thread(self._room, text, limit))
        if limit > 0:
            self._requests += 1
            async with aclosing(self._model.server.acompletion(self._request(text, limit))) as steps:
                async for step in steps:
                    yield step

    def fit(self, text: str, limit: int) -> Fitted:
        return fitted(text, limit, self._count)

    async def afit(self, text: str, limit: int) -> Fitted:
        return await in_thread(self.fit, text, limit)

    def score(self, text: str) -> list[TokenLogprob]:
        whole, start = self._prompt + text, self._prompt_tokens
        request = {"prompt": whole, "max_tokens": 1, "prompt_logprobs": 0, "add_special_tokens": self._special_tokens}
        self._requests += 1
        listed = self._model.server.post("/v1/completions", request)["choices"][0].get("prompt_logprobs")
        if listed is None:
            raise UnsupportedModelError(
                f"the server at {self._model.server.url} does not score a text that it has not written "
                "(prompt_logprobs): leave logprobs out"
            )
        return [
            TokenLogprob(one["decoded_token"], min(0.0, one["logprob"]))
            for position in listed[start:]
            for one in position.values()
        ]

    def usage(self) -> ModelUsage:
        return ModelUsage(self._prompt_tokens, self._steps, self._steps, self._requests)

    def _count(self, text: str) -> int:
        return len(self._model.encode(text, special_tokens=False))

    def _room(self, text: str, limit: int) -> int:
        """How many steps the context leaves, up to the limit."""
        window = self._model.context_length
        if self._prompt_tokens + len(text.encode()) + limit <= window:  # no token is less than a byte
            return limit
        return window - len(self._model.encode(self._prompt + text, special_tokens=self._special_tokens))

    def _request(self, text: str, limit: int) -> dict[str, Any]:
        request: dict[str, Any] = {"prompt": self._prompt + text, "max_tokens": limit, "temperature": 0}
        if self._sampling:
            request |= {
                "temperature": self._sampling.temperature,
                "top_p": self._sampling.top_p,
                "seed": _seed(self._sampling.seed, text),
            }
        # vLLM's; servers that do not know it leave it aside
        return request | {"extra_body": {"add_special_tokens": self._special_tokens}}


def _tokenizer(name: str) -> "Tokenizer":
    try:
        from nudging.models.tokenizer import Tokenizer
    except ImportError as error:
        raise MissingDependencyError(
            f"a tokenizer of its own ({name!r}) needs the package {error.name}: pip install transformers"
        ) from error
    return Tokenizer(name)


def _seed(seed: str, text: str) -> int:
    """A seed that depends on where the answer is, and on nothing else."""
    return int.from_bytes(blake2b(f"{seed}:{text}".encode(), digest_size=4).digest(), "big") >> 1
