"""The public face of the engine: two models and the settings, ready to answer."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from threading import Event
from typing import Any

from typing_extensions import Unpack

from nudging._threads import in_thread
from nudging.answer import Answer, Author
from nudging.config import NudgerConfig, arguments_of
from nudging.errors import GrammarError, SettingsError
from nudging.grammar.grammar import Grammar
from nudging.models import shared_model
from nudging.models.base import Model, Sampling, Session
from nudging.models.config import ModelName
from nudging.prompting.conversation import Prompt, Prompts, without_empty_end
from nudging.prompting.templates import render_base, render_prompts
from nudging.request import Options, Request
from nudging.rules import nudge
from nudging.rules.actions import Rule
from nudging.rules.blend import ALTERNATIVES
from nudging.scorer import Scorer
from nudging.settings import Settings, checked
from nudging.stream import AnswerStream, AsyncAnswerStream, DecodingOptions, Sessions
from nudging.tools.calls import ParsedAnswer
from nudging.tools.parsing import parse_calls, parse_calls_or_json

AT_ONCE = 16
"""Default number of prompts that `generate_many` works on at the same time."""


class Nudger:
    """A base model, nudged by a small aligned model into answering as an assistant does.

        >>> nudger = Nudger(base_model="google/gemma-3-270m", nudging_model="HuggingFaceTB/SmolLM2-135M-Instruct")
        >>> nudger.generate("Why is the sky blue?").text

    Constructing a `Nudger` loads nothing: models are loaded when the first question is asked. Nudgers that name the
    same models share their weights. Several threads may use one `Nudger`.

    Args:
        base_model: The pretrained model: a hub id, a folder, a GGUF file, or a `Model`.
        nudging_model: The small aligned model, given in the same ways. It needs a chat template.
        **options: Any other field of `NudgerConfig`, for example `threshold=0.3` or `base_url="http://localhost:8001/v1"`.

    Attributes:
        settings (Settings): The settings of every answer, unless a call replaces them.
        hints (bool): True if several likely tokens are checked in one forward pass.

    Raises:
        SettingsError: An option is unknown or out of range.
    """

    @arguments_of(NudgerConfig)
    def __init__(self, base_model: ModelName, nudging_model: ModelName, **options: Any) -> None:
        self._configure(checked(NudgerConfig, {"base_model": base_model, "nudging_model": nudging_model, **options}))

    @classmethod
    def from_config(cls, config: NudgerConfig | str | Path, **options: Any) -> "Nudger":
        """Return the `Nudger` of a configuration or of a config file.

        Args:
            config: A configuration, or the path of a JSON file with arguments of `Nudger`.
            **options: For a file: arguments that replace those of the file. None means "not given".

        Raises:
            SettingsError: The file cannot be read, or an option is unknown or out of range.
        """
        if not isinstance(config, NudgerConfig):
            config = NudgerConfig.from_config(config, **options)
        elif options:
            raise SettingsError(
                f"from_config takes {', '.join(options)} only with the path of a file: set them in the NudgerConfig"
            )
        nudger = cls.__new__(cls)
        nudger._configure(config)
        return nudger

    def _configure(self, config: NudgerConfig) -> None:
        self.settings: Settings = config.settings
        self.hints = config.hints
        self._base, self._nudging = config.config_of("base"), config.config_of("nudging")

    @cached_property
    def base_model(self) -> Model:
        """The base model, without its weights until they are needed. Nudgers that name the same model share it."""
        return shared_model(self._base, "base")

    @cached_property
    def nudging_model(self) -> Model:
        """The nudging model, without its weights until they are needed."""
        return shared_model(self._nudging, "nudging")

    @property
    def base_template(self) -> str | None:
        """The Jinja template of the base prompt, if it replaces the default."""
        return self._base.template

    @property
    def nudging_template(self) -> str | None:
        """The Jinja template of the nudging prompt, if it replaces the model's own."""
        return self._nudging.template

    @property
    def model_names(self) -> tuple[str, str]:
        """The names of the base model and of the nudging model, as they were given."""
        return self._base.name, self._nudging.name

    @property
    def name(self) -> str:
        """Both models' names, for logs and traces."""
        return " + ".join(self.model_names)

    @property
    def context_length(self) -> int:
        """The maximum number of tokens of prompt and answer together: the smaller one of both models' contexts."""
        return min(self.base_model.context_length, self.nudging_model.context_length)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything that shapes an answer, for cache keys. Nudgers with equal identities give equal answers."""
        return {
            "base_model": self._base.identity,
            "nudging_model": self._nudging.identity,
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
        """Return the answer to a prompt.

        Args:
            prompt: A question, a conversation (a list of messages with `role` and `content`), or raw `Prompts`.
            **options: Settings for this call, and the answer's schema, regex or tools; see `Options`.

        Raises:
            SettingsError: A setting is unknown or out of range.
            PromptError: The prompt cannot be rendered, or is longer than a context.
            GrammarError: The schema, the regex or a tool cannot be followed, or needs more than `max_tokens`.
            ModelError: A model cannot be loaded or used.
        """
        with self.stream(prompt, **options) as stream:
            for _ in stream:
                pass
            return stream.answer

    def stream(self, prompt: Prompt, **options: Unpack[Options]) -> AnswerStream:
        """Return an iterator of the answer's pieces.

        It is also a context manager that stops the decoding. Its `answer` is the answer so far. Arguments and errors
        are those of `generate`; errors in them are raised here, before the first piece.
        """
        return self._stream(Request.checked(prompt, self.settings, **options))

    def generate_many(
        self, prompts: Sequence[Prompt], *, at_once: int = AT_ONCE, **options: Unpack[Options]
    ) -> list[Answer]:
        """Return the answers to several prompts, the same as `generate` gives.

        Answers that are decoded at the same time share forward passes and requests, so they take less time together.

        Args:
            prompts: The prompts.
            at_once: The maximum number of prompts that are worked on at the same time. Default 16.
            **options: The options of `generate`, for all prompts.

        Raises:
            NudgingError: An error that `generate` raises for one of the prompts. The others are stopped.
        """
        requests = self._requests(prompts, at_once, options)
        cancelled = Event()

        def answer(request: Request) -> Answer:
            with self._stream(request) as stream:
                for _ in stream:
                    if cancelled.is_set():
                        break
                return stream.answer

        with ThreadPoolExecutor(at_once) as pool:
            answers = [pool.submit(answer, request) for request in requests]
            try:
                return [one.result() for one in answers]
            except BaseException:
                cancelled.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    async def agenerate(self, prompt: Prompt, **options: Unpack[Options]) -> Answer:
        """Run `generate` without blocking the event loop."""
        request = await in_thread(partial(Request.checked, prompt, self.settings, **options))
        async with self._astream(request) as stream:
            async for _ in stream:
                pass
            return stream.answer

    async def agenerate_many(
        self, prompts: Sequence[Prompt], *, at_once: int = AT_ONCE, **options: Unpack[Options]
    ) -> list[Answer]:
        """Run `generate_many` without blocking the event loop."""
        requests = await in_thread(self._requests, prompts, at_once, options)
        running = asyncio.Semaphore(at_once)

        async def answer(request: Request) -> Answer:
            async with running, self._astream(request) as stream:
                async for _ in stream:
                    pass
                return stream.answer

        answers = [asyncio.create_task(answer(request)) for request in requests]
        try:
            return await asyncio.gather(*answers)
        finally:
            for unfinished in answers:
                unfinished.cancel()
            await asyncio.gather(*answers, return_exceptions=True)

    def astream(self, prompt: Prompt, **options: Unpack[Options]) -> AsyncAnswerStream:
        """Run `stream` without blocking the event loop. Errors that need a tokenizer come with the first piece."""
        return self._astream(Request.checked(prompt, self.settings, **options))

    def scorer(self, prompt: Prompt, alternatives: int = 0, **options: Unpack[Options]) -> Scorer:
        """Return what scores an answer while it is written, with the base model, in a session of its own.

        Args:
            prompt: The prompt of the answer.
            alternatives: The number of most probable tokens to list with each token of the answer.
            **options: The options of the answer.

        Raises:
            UnsupportedModelError: The base model cannot score a given text.
            PromptError: The prompt cannot be rendered, or is longer than a context.
        """
        return Scorer(self.base_model.session(self.prompts(prompt, **options).base, author="base"), alternatives)

    def prompts(self, prompt: Prompt, **options: Unpack[Options]) -> Prompts:
        """Return the two prompts that the models see. Arguments are those of `generate`.

        Raises:
            PromptError: The prompt cannot be rendered.
        """
        return self._prompts(Request.checked(prompt, self.settings, **options))

    def count_tokens(self, prompt: Prompt, **options: Unpack[Options]) -> int:
        """Return the length of the base prompt, in base-model tokens: an answer's `usage.prompt_tokens`.

        Messages in any order are counted, also in one that the chat template refuses. An empty prompt counts 0.

        Raises:
            PromptError: The prompt is not text, or names an unknown role.
        """
        rest = without_empty_end(prompt)
        if not rest:
            return 0
        request = Request.checked(rest, self.settings, **options)
        if isinstance(request.prompt, Prompts):
            base = request.prompt.base
        else:
            base = render_base(request.prompt, self.base_template, request.tools)
        return len(self.base_model.tokenizer.encode(base, special_tokens=True))

    def __repr__(self) -> str:
        changed = self.settings.model_dump(exclude_defaults=True)
        settings = "".join(f", {name}={value!r}" for name, value in changed.items())
        return f"Nudger(base_model={self._base.model!r}, nudging_model={self._nudging.model!r}{settings})"

    def _stream(self, request: Request) -> AnswerStream:
        options = self._decoding_options(request)
        return AnswerStream(_rule(request), self._sessions(request, options), options)

    def _astream(self, request: Request) -> AsyncAnswerStream:
        options = self._decoding_options(request)
        return AsyncAnswerStream(_rule(request), lambda: in_thread(self._sessions, request, options), options)

    def _requests(self, prompts: Sequence[Prompt], at_once: int, options: Options) -> list[Request]:
        """Check all prompts before the first one is answered."""
        if at_once < 1:
            raise SettingsError(f"at_once={at_once}: give the number of prompts to work on at the same time, 1 or more")
        return [Request.checked(prompt, self.settings, **options) for prompt in prompts]

    def _prompts(self, request: Request) -> Prompts:
        if isinstance(request.prompt, Prompts):
            return request.prompt
        render = self.nudging_model.tokenizer.render
        return render_prompts(request.prompt, render, self.base_template, self.nudging_template, request.tools)

    def _sessions(self, request: Request, options: DecodingOptions) -> Sessions:
        prompts, settings, grammar = self._prompts(request), request.settings, request.grammar
        needs: dict[str, Any] = {"alternatives": ALTERNATIVES} if settings.rule == "blend" else {}
        base = self.base_model.session(
            prompts.base, author="base", sampling=_sampling(settings, "base"), grammar=grammar, **needs
        )
        nudging = self.nudging_model.session(
            prompts.nudging, author="nudging", sampling=_sampling(settings, "nudging"), grammar=grammar, **needs
        )
        if settings.logprobs:
            base.check_score()
        if grammar is not None and options.complete is not None:
            _check_budget(options.complete(""), base, grammar, settings.max_tokens)
        return {"base": base, "nudging": nudging}

    def _decoding_options(self, request: Request) -> DecodingOptions:
        complete = None
        if request.grammar is not None and request.is_constrained:
            from nudging.grammar.completion import Completer  # needs llguidance, which the grammar has found installed

            complete = Completer(request.grammar).complete
        parse = partial(self._parse, request) if request.tools else None
        return DecodingOptions(
            hints=self.hints,
            complete=complete,
            parse=parse,
            parse_partial=request.partial_answer,
            logprobs=request.settings.logprobs,
            rule=request.settings.rule_used,
        )

    def _parse(self, request: Request, text: str) -> ParsedAnswer:
        """Split an answer into content and tool calls, with the nudging model's own parser if it finds a call."""
        if request.calls_or_json:
            parsed = parse_calls_or_json(text, request.tool_names)
        else:
            own = self.nudging_model.tokenizer.parse(text, self._prompts(request).nudging, request.tools)
            parsed = own or parse_calls(text, request.tool_names)
        return replace(parsed, tool_calls=parsed.tool_calls[: request.max_calls])


def _rule(request: Request) -> Rule:
    return nudge(request.settings, constrained=request.is_constrained)


def _check_budget(shortest: str | None, base: Session, grammar: Grammar, max_tokens: int) -> None:
    if shortest is None:
        raise GrammarError(
            f"no complete answer was found for {grammar.meaning}: does a part of it require itself, without end?"
        )
    needed = base.fit(shortest, len(shortest.encode())).tokens
    if needed > max_tokens:
        raise GrammarError(
            f"max_tokens={max_tokens}: {grammar.meaning} needs at least {needed} tokens; raise max_tokens, or ask for "
            "less"
        )


def _sampling(settings: Settings, author: Author) -> Sampling | None:
    """Return how a model samples. The two models draw independently from one seed."""
    if settings.temperature == 0:
        return None
    return Sampling(settings.temperature, settings.top_p, f"{settings.seed}:{author}")
