"""The engine: two models and the settings, ready to answer."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from threading import Event
from typing import Any

from pydantic import SecretStr
from typing_extensions import Unpack

from nudging.answer import Answer, Author
from nudging.errors import GrammarError, SettingsError
from nudging.grammar.grammar import Grammar
from nudging.models import Model, Sampling, Session, load_model
from nudging.models.base import in_thread
from nudging.prompting.conversation import Prompt, Prompts, render_prompts
from nudging.request import Options, Question
from nudging.rule import Rule, nudge
from nudging.settings import DTYPES, Settings
from nudging.stream import AnswerStream, AsyncAnswerStream, Manner, Sessions
from nudging.tools.definitions import names
from nudging.tools.parsing import Begun, Reading, begun_calls, certain_content, read_calls

ModelName = str | Path | Model

AT_ONCE = 16
"""Prompts that are worked on at a time."""


class Nudger:
    """A base model, nudged by a small aligned model into answering as an assistant does.

    Light to make: nothing is imported, loaded or computed before the first question. Nudgers that name the same models
    share their weights. Several threads may use one.

    Args:
        base_model: The model that knows: a hub id, a folder, a GGUF file, or a `Model`.
        nudging_model: The small one that behaves, likewise; it needs a chat template.
        threshold: The base model writes while its top-1 probability is at least this, in [0, 1] (the paper's gamma).
        lookahead: Length of the nudging model's proposals, in its tokens.
        max_tokens: Length of an answer, in base-model tokens.
        temperature: 0 decodes greedily; above it tokens are drawn from the model that holds the pen.
        top_p: Draw from the most probable tokens that together reach this probability.
        seed: The same seed gives the same answer; without one, every call draws its own.
        stop: One string or several that end the answer; they are not part of it.
        logprobs: Have the base model say how probable it finds every token of the answer (one more forward pass).
        base_template: Jinja template of the base prompt; it sees `messages`. By default a turn a line.
        nudging_template: Jinja chat template in place of the nudging model's own.
        base_revision: Revision of the base model's hub repository.
        nudging_revision: Revision of the nudging model's.
        dtype: "float32", "bfloat16" or "float16", of both models.
        device: Where both run, as torch names it.
        device_map: As in `from_pretrained`, in place of `device`.
        base_url: Of an OpenAI-compatible API that serves the base model (`http://host:8000/v1`); `base_model` is its
            name there, and dtype, device and revision are the server's affair.
        nudging_url: Likewise; either model may be on a server, or both.
        base_api_key: If the base model's server asks for one.
        nudging_api_key: If the nudging model's does.
        base_tokenizer: Of a base model on a server that does not tell of it (`/tokenize`): a hub id, a folder or a GGUF
            file. Prompts are counted with it then.
        nudging_tokenizer: Likewise; its chat template renders the nudging prompt.
        timeout: Seconds that a request to a server may be without a word.
        max_retries: How often in a row a request may fail and be tried again, after longer and longer pauses.
        hints: Let the models check what may well come next in one forward pass. Never changes an answer.

    Raises:
        SettingsError: A setting is out of its range.
    """

    def __init__(
        self,
        base_model: ModelName,
        nudging_model: ModelName,
        *,
        threshold: float = 0.4,
        lookahead: int = 16,
        max_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        stop: str | list[str] | tuple[str, ...] | None = None,
        logprobs: bool = False,
        base_template: str | None = None,
        nudging_template: str | None = None,
        base_revision: str | None = None,
        nudging_revision: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
        device_map: str | dict[str, Any] | None = None,
        base_url: str | None = None,
        nudging_url: str | None = None,
        base_api_key: str | SecretStr | None = None,
        nudging_api_key: str | SecretStr | None = None,
        base_tokenizer: str | None = None,
        nudging_tokenizer: str | None = None,
        timeout: float = 60.0,
        max_retries: int = 6,
        hints: bool = True,
    ) -> None:
        self.settings = Settings.checked(
            {
                "threshold": threshold,
                "lookahead": lookahead,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "seed": seed,
                "stop": stop,
                "logprobs": logprobs,
            }
        )
        _check_model("base_model", base_model)
        _check_model("nudging_model", nudging_model)
        if dtype is not None and dtype not in DTYPES:
            raise SettingsError(f"dtype={dtype!r}: choose from {', '.join(DTYPES)}")
        if device is not None and device_map is not None:
            raise SettingsError(f"device={device!r} and device_map={device_map!r}: give one of them")
        self.base_template, self.nudging_template = base_template, nudging_template
        self.hints = hints
        if not timeout > 0 or max_retries < 0:
            raise SettingsError(
                f"timeout={timeout}, max_retries={max_retries}: more than 0 seconds, and 0 or more times"
            )
        self._base_model, self._nudging_model = base_model, nudging_model
        self._base_revision, self._nudging_revision = base_revision, nudging_revision
        self._placement: dict[str, Any] = {"dtype": dtype, "device": device, "device_map": device_map}
        self._urls: dict[Author, str | None] = {"base": base_url, "nudging": nudging_url}
        self._api_keys: dict[Author, SecretStr | None] = {
            "base": _secret(base_api_key),
            "nudging": _secret(nudging_api_key),
        }
        self._tokenizers: dict[Author, str | None] = {"base": base_tokenizer, "nudging": nudging_tokenizer}
        for side, tokenizer in self._tokenizers.items():
            if tokenizer is not None and self._urls[side] is None:
                raise SettingsError(
                    f"{side}_tokenizer={tokenizer!r} is for a model on a server, and there is no {side}_url"
                )
        self._patience: dict[str, Any] = {"timeout": timeout, "max_retries": max_retries}

    @cached_property
    def base_model(self) -> Model:
        """The model that writes where it is sure."""
        return self._model(self._base_model, "base", self._base_revision)

    @cached_property
    def nudging_model(self) -> Model:
        """The model that writes where the other is not, and that ends the answer."""
        return self._model(self._nudging_model, "nudging", self._nudging_revision)

    @property
    def model_names(self) -> tuple[str, str]:
        """Of the base model and of the nudging model."""
        return _name(self._base_model), _name(self._nudging_model)

    @property
    def name(self) -> str:
        """Both models' names, for logs and traces."""
        return " + ".join(self.model_names)

    @property
    def context_length(self) -> int:
        """How many tokens prompt and answer may have together, in either model's tokens."""
        return min(self.base_model.context_length, self.nudging_model.context_length)

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that shapes an answer, for cache keys. Two nudgers with equal identities answer alike."""
        return {
            "base_model": self._model_identity(self._base_model, "base", self._base_revision),
            "nudging_model": self._model_identity(self._nudging_model, "nudging", self._nudging_revision),
            "base_template": self.base_template,
            "nudging_template": self.nudging_template,
            **self.settings.model_dump(),
        }

    def load(self) -> None:
        """Load both models now rather than at the first question.

        Raises:
            ModelError: A model cannot be loaded or used.
        """
        self.base_model.load()
        self.nudging_model.load()

    def generate(self, prompt: Prompt, **options: Unpack[Options]) -> Answer:
        """Answer.

        Args:
            prompt: A question, a conversation (a list of messages with `role` and `content`), or raw `Prompts`.
            **options: `Options`: settings for this call, and what the answer is held to (schema, regex, tools).

        Raises:
            SettingsError: A setting is unknown or out of its range.
            PromptError: The prompt cannot be rendered, or is longer than a context.
            GrammarError: The schema, the regex or a tool cannot be, or is too large for `max_tokens`.
            ModelError: A model cannot be loaded or used.
        """
        with self.stream(prompt, **options) as stream:
            for _ in stream:
                pass
            return stream.answer

    def stream(self, prompt: Prompt, **options: Unpack[Options]) -> AnswerStream:
        """Answer piece by piece. Takes and raises what `generate` does, before the first piece is asked for.

        The stream is an iterator of pieces, and a context manager that stops the decoding; its `answer` is what was
        answered so far.
        """
        return self._stream(Question.checked(prompt, self.settings, **options))

    def generate_many(
        self, prompts: Sequence[Prompt], *, at_once: int = AT_ONCE, **options: Unpack[Options]
    ) -> list[Answer]:
        """Answer several prompts, each as `generate` would: sooner, as a local model takes their tokens together.

        Args:
            prompts: Any number of them.
            at_once: How many are worked on at a time.
            **options: As in `generate`, for all of them.

        Raises:
            NudgingError: What `generate` raises on one of them. The others are given up.
        """
        questions = self._questions(prompts, at_once, options)
        given_up = Event()

        def answer(question: Question) -> Answer:
            with self._stream(question) as stream:
                for _ in stream:
                    if given_up.is_set():
                        break
                return stream.answer

        with ThreadPoolExecutor(at_once) as pool:
            answers = [pool.submit(answer, question) for question in questions]
            try:
                return [one.result() for one in answers]
            except BaseException:
                given_up.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    async def agenerate(self, prompt: Prompt, **options: Unpack[Options]) -> Answer:
        """`generate` without blocking the event loop."""
        async with self.astream(prompt, **options) as stream:
            async for _ in stream:
                pass
            return stream.answer

    async def agenerate_many(
        self, prompts: Sequence[Prompt], *, at_once: int = AT_ONCE, **options: Unpack[Options]
    ) -> list[Answer]:
        """`generate_many` without blocking the event loop."""
        questions = self._questions(prompts, at_once, options)
        turns = asyncio.Semaphore(at_once)

        async def answer(question: Question) -> Answer:
            async with turns, self._astream(question) as stream:
                async for _ in stream:
                    pass
                return stream.answer

        answers = [asyncio.create_task(answer(question)) for question in questions]
        try:
            return await asyncio.gather(*answers)
        finally:
            for unfinished in answers:
                unfinished.cancel()
            await asyncio.gather(*answers, return_exceptions=True)

    def astream(self, prompt: Prompt, **options: Unpack[Options]) -> AsyncAnswerStream:
        """`stream` without blocking the event loop; what needs a tokenizer is checked with the first piece."""
        return self._astream(Question.checked(prompt, self.settings, **options))

    def prompts(self, prompt: Prompt, **options: Unpack[Options]) -> Prompts:
        """The two prompts that the models see for this question or conversation, and these options of `generate`.

        Raises:
            PromptError: The prompt cannot be rendered.
        """
        return self._rendered(Question.checked(prompt, self.settings, **options))

    def count_tokens(self, prompt: Prompt, **options: Unpack[Options]) -> int:
        """Length of the base prompt, in base-model tokens: what an answer's `usage` has as `prompt_tokens`.

        Raises:
            PromptError: The prompt cannot be rendered.
        """
        return len(self.base_model.encode(self.prompts(prompt, **options).base, special_tokens=True))

    def __repr__(self) -> str:
        changed = self.settings.model_dump(exclude_defaults=True)
        settings = "".join(f", {name}={value!r}" for name, value in changed.items())
        return f"Nudger(base_model={self._base_model!r}, nudging_model={self._nudging_model!r}{settings})"

    def _model(self, model: ModelName, side: Author, revision: str | None) -> Model:
        if isinstance(model, Model):
            return model
        if url := self._urls[side]:
            options = {"api_key": self._api_keys[side], "tokenizer": self._tokenizers[side], **self._patience}
            return load_model(model, url=url, side=side, **options)
        return load_model(model, revision=revision, **self._placement)

    def _model_identity(self, model: ModelName, side: Author, revision: str | None) -> dict[str, Any]:
        if isinstance(model, Model):
            return dict(model.identity)
        if url := self._urls[side]:
            return {"name": _name(model), "url": url.rstrip("/"), "tokenizer": self._tokenizers[side]}
        return {"name": _name(model), "revision": revision, **self._placement}

    def _stream(self, question: Question) -> AnswerStream:
        manner = self._manner(question)
        return AnswerStream(_rule(question), self._sessions(question, manner), manner)

    def _astream(self, question: Question) -> AsyncAnswerStream:
        manner = self._manner(question)
        return AsyncAnswerStream(_rule(question), lambda: in_thread(self._sessions, question, manner), manner)

    def _questions(self, prompts: Sequence[Prompt], at_once: int, options: Options) -> list[Question]:
        """All of them, checked before the first is answered."""
        if at_once < 1:
            raise SettingsError(f"at_once={at_once}: give the number of prompts to work on at a time, 1 or more")
        return [Question.checked(prompt, self.settings, **options) for prompt in prompts]

    def _rendered(self, question: Question) -> Prompts:
        if isinstance(question.prompt, Prompts):
            return question.prompt
        return render_prompts(
            question.prompt, self.nudging_model, self.base_template, self.nudging_template, question.tools
        )

    def _sessions(self, question: Question, manner: Manner) -> Sessions:
        prompts, settings, grammar = self._rendered(question), question.settings, question.grammar
        base = self.base_model.session(prompts.base, role="base", sampling=_sampling(settings, "base"), grammar=grammar)
        nudging = self.nudging_model.session(
            prompts.nudging, role="nudging", sampling=_sampling(settings, "nudging"), grammar=grammar
        )
        if grammar is not None and manner.complete is not None:
            _check_room(manner.complete(""), base, grammar, settings.max_tokens)
        return {"base": base, "nudging": nudging}

    def _manner(self, question: Question) -> Manner:
        complete = read = None
        if question.grammar is not None and question.is_constrained:
            from nudging.grammar.completion import Closing  # it needs llguidance, which came with the grammar

            complete = Closing(question.grammar).after
        if question.tools:
            read = partial(self._read, question)
        return Manner(self.hints, complete, read, partial(_read_begun, question), question.settings.logprobs)

    def _read(self, question: Question, text: str) -> Reading:
        """The tool calls in an answer: as the nudging model's own parser has it, or as models of today write them."""
        own = self.nudging_model.read_calls(text, self._rendered(question).nudging, question.tools)
        reading = own or read_calls(text, names(question.tools))
        return replace(reading, tool_calls=reading.tool_calls[: question.most_calls])


def _read_begun(question: Question, text: str) -> Begun:
    if question.tools and question.is_constrained:
        return Begun("", tuple(begun_calls(text)))
    return Begun(certain_content(text, names(question.tools)) if question.tools else text)


def _rule(question: Question) -> Rule:
    settings = question.settings
    return nudge(
        threshold=settings.threshold,
        lookahead=settings.lookahead,
        max_tokens=settings.max_tokens,
        stop=settings.stop,
        constrained=question.is_constrained,
    )


def _check_room(shortest: str | None, base: Session, grammar: Grammar, max_tokens: int) -> None:
    if shortest is None:
        raise GrammarError(f"{grammar.meaning} has no answer that ends within reach: has it a part that needs itself?")
    needed = base.fit(shortest, len(shortest.encode())).tokens
    if needed > max_tokens:
        raise GrammarError(
            f"max_tokens={max_tokens}: {grammar.meaning} needs {needed} tokens at the least; raise max_tokens, or ask "
            "for less"
        )


def _sampling(settings: Settings, author: Author) -> Sampling | None:
    """The two models draw independently of each other, from one seed."""
    if settings.temperature == 0:
        return None
    return Sampling(settings.temperature, settings.top_p, f"{settings.seed}:{author}")


def _check_model(field: str, model: object) -> None:
    if not isinstance(model, str | Path | Model) or not str(model).strip():
        raise SettingsError(f"{field}={model!r}: give a hub id, a model folder or a GGUF file")


def _secret(key: str | SecretStr | None) -> SecretStr | None:
    return SecretStr(key) if isinstance(key, str) else key


def _name(model: ModelName) -> str:
    return model.name if isinstance(model, Model) else str(model)
