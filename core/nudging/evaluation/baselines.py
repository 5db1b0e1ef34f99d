"""Two earlier decoding-time alignment methods, for comparison: both mix the logits of several models at every token.

Both need local models with one vocabulary, because the logits of a token are added across models. Nudging needs
neither, and runs one model at a time.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from nudging.answer import Author, ModelUsage
from nudging.errors import PromptError, SettingsError, UnsupportedModelError
from nudging.models import load_model, require_local
from nudging.models.base import Sampling
from nudging.models.config import ModelName
from nudging.prompting.conversation import Message, Prompt, Prompts, check_prompt
from nudging.prompting.templates import render_prompts
from nudging.rules.unfinished import find_stop
from nudging.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nudging.models.decoding.logits import Logits
    from nudging.models.decoding.model import InProcessModel


@dataclass(frozen=True)
class Generation:
    """Text that several models wrote together. Its tokens have no single author.

    Args:
        text: The answer, without the prompt.
        finish_reason: "stop" (an end token of any of the models, or a stop string), or "length" (`max_tokens`, or a
            context is full).
        tokens: The length in tokens of the shared vocabulary. An end token and text that a stop string cut off count.
        usage: The work of each model, by the name of its argument.
    """

    text: str
    finish_reason: Literal["stop", "length"]
    tokens: int
    usage: Mapping[str, ModelUsage]

    def __str__(self) -> str:
        return self.text


class _LogitMixture(ABC):
    """Decodes from a mixture of the logits of several models."""

    authors: ClassVar[Mapping[str, Author]]
    """The prompt that each model gets, base or nudging, by the name of its argument. The base model comes first."""

    def __init__(
        self,
        models: Mapping[str, ModelName],
        base_template: str | None,
        nudging_template: str | None,
        dtype: str | None,
        device: str | None,
    ) -> None:
        loaded = {name: load_model(model, dtype=dtype, device=device) for name, model in models.items()}
        reason = f"{self.method} mixes the logits of whole vocabularies, which only a local model has"
        self.models = {name: require_local(model, name, reason) for name, model in loaded.items()}
        self._vocabulary_size = _shared_vocabulary_size(list(self.models.values()), self.method)
        self.base_template, self.nudging_template = base_template, nudging_template

    @property
    def method(self) -> str:
        """The name of the method, for error messages."""
        return type(self).__name__

    @abstractmethod
    def mix(self, *logits: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Return the mixed logits, shape [vocab].

        Args:
            *logits: The logits of each model, in the order of the constructor's arguments, shape [vocab].
        """

    def generate(
        self,
        prompt: Prompt,
        *,
        instructions: str | None = None,
        max_tokens: int | None = None,
        stop: str | Sequence[str] = (),
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Generation:
        """Return the answer to a prompt. Each token needs one forward pass of each model.

        The prompts are those of `Nudger`: plain text for base models, the chat template for the aligned model.

        Args:
            prompt: A question, a conversation (a list of messages with `role` and `content`), or raw `Prompts`.
            instructions: A system message, put before the conversation.
            max_tokens: Maximum length of the answer, in tokens; default 256.
            stop: One string or several that end the answer and are not part of it.
            temperature: 0 decodes greedily (the default); above 0 tokens are sampled from the mixed distribution.
            top_p: Sample from the most probable tokens that together reach this probability.
            seed: The same seed gives the same answer. Without one every call draws its own.

        Raises:
            SettingsError: A setting is out of range.
            PromptError: The prompt cannot be rendered, or is longer than a context.
            ModelError: A model cannot be loaded.
        """
        given = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
        stops = stop if isinstance(stop, str) else list(stop)
        settings = Settings().updated({**given, "stop": stops}).with_seed()
        return self._decode(self._prompts(prompt, instructions), settings)

    def _decode(self, prompts: Prompts, settings: Settings) -> Generation:
        from nudging.models.decoding.logits import Logits
        from nudging.models.decoding.sampling import choose

        models = [
            Logits(self.models[name], prompts.base if author == "base" else prompts.nudging, author)
            for name, author in self.authors.items()
        ]
        end_tokens = set[int]().union(*(model.engine.end_tokens for model in self.models.values()))
        path, sampling = list(models[0].prompt), None
        detokenizer = next(iter(self.models.values())).engine.detokenizer(path)
        if settings.temperature:
            # the sampling of Nudger's base model: a mixture that reduces to the base model draws the same tokens
            sampling = Sampling(settings.temperature, settings.top_p, f"{settings.seed}:base")
        text, tokens = "", 0
        finish_reason: Literal["stop", "length"] = "length"
        while tokens < settings.max_tokens and not any(model.is_full for model in models):
            logits = self.mix(*self._next_logits(models))[None]  # [1, vocab]
            token = choose(logits, [len(path)], sampling)[0].token
            path.append(token)
            tokens += 1
            if token in end_tokens:
                finish_reason = "stop"
                break
            text += detokenizer.push(token)
            if (end := find_stop(text, settings.stop)) is not None:
                text, finish_reason = text[:end], "stop"
                break
            for model in models:
                model.push(token)
        usage = {name: model.usage() for name, model in zip(self.authors, models, strict=True)}
        return Generation(text, finish_reason, tokens, usage)

    def _next_logits(self, models: Sequence["Logits"]) -> "list[NDArray[np.float32]]":
        """Return each model's logits of the next token, shape [vocab], without padding beyond the shared vocabulary."""
        rows = [model.after() for model in models]
        size = min(self._vocabulary_size, *(len(row) for row in rows))
        return [row[:size] for row in rows]

    def _prompts(self, prompt: Prompt, instructions: str | None) -> Prompts:
        checked = check_prompt(prompt)
        if isinstance(checked, Prompts):
            if instructions is not None:
                raise PromptError("instructions are a message of a conversation: put them into both raw prompts")
            return checked
        if instructions:
            checked = cast("list[Message]", check_prompt([{"role": "system", "content": instructions}, *checked]))
        aligned = next(self.models[name] for name, author in self.authors.items() if author == "nudging")
        return render_prompts(checked, aligned.tokenizer.render, self.base_template, self.nudging_template)


class LogitEnsemble(_LogitMixture):
    """The weighted average of the logits of two models: `(1 - weight) * base + weight * nudging`.

    An average of logits is a geometric mean of probabilities: a token that either model finds impossible stays
    impossible. (An average of probabilities would keep such a token.) The nudging paper, arXiv 2410.09300, compares
    with an average of the two models. This one uses the same terms as `ProxyTuning`.

    Args:
        base_model: A hub id, a folder, a GGUF file, or a local `Model`. It gets the plain prompt.
        nudging_model: The aligned model, given in the same ways. It gets the prompt rendered by its chat template.
        weight: Weight of the nudging model, in [0, 1]; default 0.5. At 0 the base model answers alone.
        base_template: Jinja template of the base prompt, as in `Nudger`.
        nudging_template: Jinja chat template that replaces the nudging model's own.
        dtype: "float32", "bfloat16" or "float16", for both models.
        device: Device of both models, in torch's notation.

    Raises:
        SettingsError: The weight is out of range.
        UnsupportedModelError: A model is not local, or the vocabularies differ. No weights are loaded for this check.
        ModelError: A tokenizer cannot be loaded.
    """

    authors: ClassVar[Mapping[str, Author]] = {"base_model": "base", "nudging_model": "nudging"}

    def __init__(
        self,
        base_model: ModelName,
        nudging_model: ModelName,
        weight: float = 0.5,
        *,
        base_template: str | None = None,
        nudging_template: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
    ) -> None:
        if not 0 <= weight <= 1:
            raise SettingsError(f"weight={weight}: give the weight of the nudging model, from 0 to 1")
        self.weight = weight
        models = {"base_model": base_model, "nudging_model": nudging_model}
        super().__init__(models, base_template, nudging_template, dtype, device)

    def mix(self, *logits: "NDArray[np.float32]") -> "NDArray[np.float32]":
        base, nudging = logits
        return base + self.weight * (nudging - base)


class ProxyTuning(_LogitMixture):
    """A large model tuned by proxy: `base + alpha * (tuned - untuned)`, logit by logit.

    Source: Liu et al., "Tuning Language Models by Proxy", arXiv 2401.08565, section 2. As in the authors' program, the
    base model and the untuned model get the plain prompt, and a tuned chat model gets its chat prompt.

    Args:
        base_model: The large model: a hub id, a folder, a GGUF file, or a local `Model`.
        tuned_model: A small tuned model (the expert), given in the same ways.
        untuned_model: The small model before it was tuned (the anti-expert), given in the same ways.
        alpha: Factor of the difference that tuning made; default 1. At 0 the base model answers alone.
        base_template: Jinja template of the plain prompt, as in `Nudger`.
        nudging_template: Jinja chat template that replaces the tuned model's own.
        dtype: "float32", "bfloat16" or "float16", for all models.
        device: Device of all models, in torch's notation.

    Raises:
        SettingsError: `alpha` is not a finite number.
        UnsupportedModelError: A model is not local, or the vocabularies differ. No weights are loaded for this check.
        ModelError: A tokenizer cannot be loaded.
    """

    authors: ClassVar[Mapping[str, Author]] = {"base_model": "base", "tuned_model": "nudging", "untuned_model": "base"}

    def __init__(
        self,
        base_model: ModelName,
        tuned_model: ModelName,
        untuned_model: ModelName,
        alpha: float = 1.0,
        *,
        base_template: str | None = None,
        nudging_template: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
    ) -> None:
        if not isfinite(alpha):
            raise SettingsError(f"alpha={alpha}: give a finite number; the paper's is 1")
        self.alpha = alpha
        models = {"base_model": base_model, "tuned_model": tuned_model, "untuned_model": untuned_model}
        super().__init__(models, base_template, nudging_template, dtype, device)

    def mix(self, *logits: "NDArray[np.float32]") -> "NDArray[np.float32]":
        base, tuned, untuned = logits
        return base + self.alpha * (tuned - untuned)


def _shared_vocabulary_size(models: "Sequence[InProcessModel]", method: str) -> int:
    """Return the number of token ids, if all models have the same vocabulary."""
    base, *others = models
    tokens = {token: text for text, token in base.vocabulary.items()}
    for other in others:
        its = {token: text for text, token in other.vocabulary.items()}
        if its == tokens:
            continue
        first = min(token for token in tokens.keys() | its.keys() if tokens.get(token) != its.get(token))
        raise UnsupportedModelError(
            f"{base.name} and {other.name} do not have one vocabulary: token {first} is {_shown(tokens.get(first))} in "
            f"the first and {_shown(its.get(first))} in the second, and {method} adds logits token by token. Choose "
            "models of one family, or use nudging, which works across tokenizers"
        )
    return max(tokens) + 1


def _shown(text: str | None) -> str:
    return "missing" if text is None else repr(text)
