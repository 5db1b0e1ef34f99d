"""The inference-time methods that nudging is compared with: they mix the logits of several models at every token.

Both need models with one vocabulary, in this process: a logit of one is added to the logit of the same token of the
others. Nudging needs neither, and asks one model at a time.

The tokens of an answer are of no model alone, so what comes back is a `Generation`, which has no authors.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from nudging.answer import Author, ModelUsage
from nudging.errors import PromptError, SettingsError, UnsupportedModelError
from nudging.models import load_model, require_local
from nudging.models.base import Model, Sampling
from nudging.prompting.conversation import Message, Prompt, Prompts, check_prompt
from nudging.prompting.templates import render_prompts
from nudging.settings import Settings

if TYPE_CHECKING:
    import torch

    from nudging.models.local.logits import Logits
    from nudging.models.local.model import LocalModel


@dataclass(frozen=True)
class Generation:
    """What several models wrote together.

    Args:
        text: The answer. It never repeats the prompt.
        finish_reason: "stop" (an end token of any of the models, or a stop string), or "length" (`max_tokens`, or the
            end of a context).
        tokens: Its length in tokens of the shared vocabulary, end token and what a stop string cut off included.
        usage: What each model did, by the name of its argument.
    """

    text: str
    finish_reason: Literal["stop", "length"]
    tokens: int
    usage: Mapping[str, ModelUsage]

    def __str__(self) -> str:
        return self.text


class _Mixture(ABC):
    """Several models, of whose logits one distribution is made."""

    roles: ClassVar[Mapping[str, Author]]
    """How each model is prompted, the base model first."""

    def __init__(
        self,
        models: Mapping[str, str | Path | Model],
        base_template: str | None,
        nudging_template: str | None,
        dtype: str | None,
        device: str | None,
    ) -> None:
        named = {
            name: model if isinstance(model, Model) else load_model(model, dtype=dtype, device=device)
            for name, model in models.items()
        }
        why = f"{self.method} mixes the logits of whole vocabularies, which only a local model has"
        self.models = {name: require_local(model, name, why) for name, model in named.items()}
        self._size = _shared_vocabulary(list(self.models.values()), self.method)
        self.base_template, self.nudging_template = base_template, nudging_template

    @property
    def method(self) -> str:
        """What this is called, in errors."""
        return type(self).__name__

    @abstractmethod
    def mixed(self, *logits: "torch.Tensor") -> "torch.Tensor":
        """One row of logits.

        Args:
            *logits: One row of each model, in the order of the arguments, shape (vocabulary,).
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
        """Answer, greedily if no temperature is given, with one forward pass of each model a token.

        The prompts are those of `Nudger`: plain text for the base model, and the aligned model's chat template for
        that one.

        Args:
            prompt: A question, a conversation (a list of messages with `role` and `content`), or raw `Prompts`.
            instructions: A system turn, put before the conversation.
            max_tokens: Length of the answer, in tokens; 256 by default.
            stop: One string or several that end the answer; they are not part of it.
            temperature: Above 0, tokens are drawn from the mixed distribution.
            top_p: Draw from the most probable tokens that together reach this probability.
            seed: The same seed gives the same answer; without one, every call draws its own.

        Raises:
            SettingsError: A setting is out of its range.
            PromptError: The prompt cannot be rendered, or is longer than a context.
            ModelError: A model cannot be loaded.
        """
        from nudging.models.local.logits import Logits
        from nudging.models.local.sampling import choose

        given = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
        stops = stop if isinstance(stop, str) else list(stop)
        settings = Settings().updated({**given, "stop": stops}).with_seed()
        prompts = self._prompts(prompt, instructions)
        readers = [
            Logits(self.models[name], prompts.base if role == "base" else prompts.nudging, role)
            for name, role in self.roles.items()
        ]
        base = next(iter(self.models.values()))
        path, ends = list(readers[0].prompt), set.union(*(model.weights.end_tokens for model in self.models.values()))
        detokenizer = base.weights.detokenizer(path)
        sampling = None
        if settings.temperature:
            # as Nudger draws for its base model: with the other models out of it, the same draws
            sampling = Sampling(settings.temperature, settings.top_p, f"{settings.seed}:base")
        text, start = "", len(path)
        while len(path) - start < settings.max_tokens and not any(reader.is_full for reader in readers):
            row = self.mixed(*self._rows(readers)).unsqueeze(0)
            (choice,) = choose(row, [len(path)], sampling)
            path.append(choice.token)
            if choice.token in ends:
                return self._generation(text, "stop", len(path) - start, readers)
            text += detokenizer.push(choice.token)
            if found := [at for string in settings.stop if (at := text.find(string)) >= 0]:
                return self._generation(text[: min(found)], "stop", len(path) - start, readers)
            for reader in readers:
                reader.push(choice.token)
        return self._generation(text, "length", len(path) - start, readers)

    def _rows(self, readers: Sequence["Logits"]) -> "list[torch.Tensor]":
        """The logits of the shared vocabulary: what a model has after it pads its embedding to a round size."""
        rows = [reader.after() for reader in readers]
        size = min(self._size, *(len(row) for row in rows))
        return [row[:size].to(rows[0].device) for row in rows]

    def _prompts(self, prompt: Prompt, instructions: str | None) -> Prompts:
        checked = check_prompt(prompt)
        if isinstance(checked, Prompts):
            if instructions is not None:
                raise PromptError("instructions are a turn of a conversation: put them into both of the raw prompts")
            return checked
        if instructions:
            checked = cast("list[Message]", check_prompt([{"role": "system", "content": instructions}, *checked]))
        aligned = next(self.models[name] for name, role in self.roles.items() if role == "nudging")
        return render_prompts(checked, aligned.tokenizer.render, self.base_template, self.nudging_template)

    def _generation(
        self, text: str, reason: Literal["stop", "length"], tokens: int, readers: Sequence["Logits"]
    ) -> Generation:
        usage = {name: reader.usage() for name, reader in zip(self.roles, readers, strict=True)}
        return Generation(text, reason, tokens, usage)


class LogitEnsemble(_Mixture):
    """The average of two models: `(1 - weight) * base + weight * nudging`, logit by logit.

    An average of logits is a geometric mean of probabilities: what either model finds impossible stays so. (An average
    of probabilities would keep it.) The nudging paper, arXiv 2410.09300, compares with an average of the two models;
    this is the one whose terms are those of `ProxyTuning`.

    Args:
        base_model: A hub id, a folder, a GGUF file, or a local `Model`. It sees the plain prompt.
        nudging_model: Likewise; it sees the prompt that its chat template renders.
        weight: Of the nudging model, in [0, 1]. At 0 this is the base model alone.
        base_template: Jinja template of the base prompt, as in `Nudger`.
        nudging_template: Jinja chat template in place of the nudging model's own.
        dtype: "float32", "bfloat16" or "float16", of both models.
        device: Where both run, as torch names it.

    Raises:
        SettingsError: The weight is out of its range.
        UnsupportedModelError: A model is not in this process, or the two have not one vocabulary. No weights are
            loaded for that.
        ModelError: A tokenizer cannot be loaded.
    """

    roles: ClassVar[Mapping[str, Author]] = {"base_model": "base", "nudging_model": "nudging"}

    def __init__(
        self,
        base_model: str | Path | Model,
        nudging_model: str | Path | Model,
        weight: float = 0.5,
        *,
        base_template: str | None = None,
        nudging_template: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
    ) -> None:
        if not 0 <= weight <= 1:
            raise SettingsError(f"weight={weight}: give the share of the nudging model, from 0 to 1")
        self.weight = weight
        models = {"base_model": base_model, "nudging_model": nudging_model}
        super().__init__(models, base_template, nudging_template, dtype, device)

    def mixed(self, *logits: "torch.Tensor") -> "torch.Tensor":
        base, nudging = logits
        return base.lerp(nudging, self.weight)


class ProxyTuning(_Mixture):
    """A large model tuned by proxy: `base + alpha * (tuned - untuned)`, logit by logit.

    Source: Liu et al., "Tuning Language Models by Proxy", arXiv 2401.08565, section 2. As in their program, the base
    and the untuned model see the plain prompt, and a tuned model that chats sees its chat prompt.

    Args:
        base_model: A hub id, a folder, a GGUF file, or a local `Model`: the large one.
        tuned_model: Likewise, a small one that was tuned (the expert).
        untuned_model: Likewise, the small one before it was tuned (the anti-expert).
        alpha: How much of what tuning changed is added. At 0 this is the base model alone.
        base_template: Jinja template of the plain prompt, as in `Nudger`.
        nudging_template: Jinja chat template in place of the tuned model's own.
        dtype: "float32", "bfloat16" or "float16", of all models.
        device: Where all run, as torch names it.

    Raises:
        SettingsError: alpha is not a number.
        UnsupportedModelError: A model is not in this process, or the three have not one vocabulary. No weights are
            loaded for that.
        ModelError: A tokenizer cannot be loaded.
    """

    roles: ClassVar[Mapping[str, Author]] = {"base_model": "base", "tuned_model": "nudging", "untuned_model": "base"}

    def __init__(
        self,
        base_model: str | Path | Model,
        tuned_model: str | Path | Model,
        untuned_model: str | Path | Model,
        alpha: float = 1.0,
        *,
        base_template: str | None = None,
        nudging_template: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
    ) -> None:
        if not isfinite(alpha):
            raise SettingsError(f"alpha={alpha}: give a number; the paper's is 1")
        self.alpha = alpha
        models = {"base_model": base_model, "tuned_model": tuned_model, "untuned_model": untuned_model}
        super().__init__(models, base_template, nudging_template, dtype, device)

    def mixed(self, *logits: "torch.Tensor") -> "torch.Tensor":
        base, tuned, untuned = logits
        return base + self.alpha * (tuned - untuned)


def _shared_vocabulary(models: "Sequence[LocalModel]", method: str) -> int:
    """How many ids the models' one vocabulary has."""
    base, *others = models
    tokens = {token: text for text, token in base.tokenizer.vocabulary.items()}
    for other in others:
        its = {token: text for text, token in other.tokenizer.vocabulary.items()}
        if its == tokens:
            continue
        first = min(token for token in tokens.keys() | its.keys() if tokens.get(token) != its.get(token))
        raise UnsupportedModelError(
            f"{base.name} and {other.name} have not one vocabulary: token {first} is {_deltas(tokens.get(first))} to "
            f"the one and {_deltas(its.get(first))} to the other, and {method} adds up logits token by token. Take "
            "models of one family; nudging works across tokenizers"
        )
    return max(tokens) + 1


def _deltas(text: str | None) -> str:
    return "nothing" if text is None else repr(text)
