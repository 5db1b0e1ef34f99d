"""The methods of an evaluation: nudging, either model alone, and the baselines, behind one function type."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from threading import Event
from typing import Any, TypeAlias

from nudging.answer import Author
from nudging.errors import SettingsError
from nudging.evaluation.answer_log import AnswerRecord
from nudging.evaluation.baselines import LogitEnsemble, ProxyTuning
from nudging.evaluation.single_model import generate_alone
from nudging.models.base import Model
from nudging.models.config import ModelName
from nudging.nudger import Nudger
from nudging.prompting.conversation import Prompt
from nudging.request import Options

AnswerFunction: TypeAlias = Callable[[Prompt, Options, Event], AnswerRecord]
"""(prompt, options, cancelled) -> the answer. Setting the event `cancelled` ends the answer."""

METHODS: Mapping[str, str] = {
    "base": "base model alone",
    "nudging": "nudging model alone",
    "nudged": "nudged",
    "ensemble": "logit ensemble",
    "proxy": "proxy tuning",
}
"""All methods, with their names in tables."""

BASELINE_OPTIONS = {"max_tokens", "stop", "temperature", "top_p", "seed"}
"""The settings that a baseline uses."""


@dataclass(frozen=True)
class Method:
    """A method of answering, on one pair.

    Args:
        name: One of `METHODS`.
        identity: Everything that shapes an answer except its prompt and options, for keys in the answer log.
        answer: Generates an answer.
    """

    name: str
    identity: Mapping[str, Any]
    answer: AnswerFunction


def check_method(name: str) -> str:
    """Return the name if a method has it.

    Raises:
        SettingsError: There is no such method. The message suggests one.
    """
    if name in METHODS:
        return name
    raise SettingsError(f"there is no method {name!r}: {did_you_mean(name, METHODS)}")


def did_you_mean(name: str, known: Mapping[str, Any]) -> str:
    """Return a hint that lists the known names, after the most similar one if there is one."""
    similar = get_close_matches(name, known, n=1)
    return (f"did you mean {similar[0]!r}? " if similar else "") + f"Choose from {', '.join(known)}"


def make_method(
    name: str,
    nudger: Nudger,
    *,
    threshold: float | None = None,
    settings: Mapping[str, Any] | None = None,
    untuned_model: ModelName | None = None,
    weight: float = 0.5,
    alpha: float = 1.0,
) -> Method:
    """Return a method on a pair.

    Args:
        name: One of `METHODS`.
        nudger: The pair and its settings.
        threshold: The threshold of nudging. None takes the nudger's.
        settings: Other settings of nudging, which replace the nudger's: `rule`, `bet`, `end`, ...
        untuned_model: For proxy tuning: the nudging model before it was tuned.
        weight: For the ensemble: the weight of the nudging model's logits, in [0, 1].
        alpha: For proxy tuning: the factor of the difference that tuning made.

    Raises:
        SettingsError: There is no such method, or it lacks a model.
        ModelError: The method cannot combine the two models, for example because their vocabularies differ.
    """
    identity = _identity(check_method(name), nudger)
    if name in ("base", "nudging"):
        return Method(name, identity, _alone("base" if name == "base" else "nudging", nudger))
    if name == "nudged":
        threshold = nudger.settings.threshold if threshold is None else threshold
        nudged = {"threshold": threshold, **(settings or {})}
        return Method(name, {**identity, **nudged}, _nudged(nudger, nudged))
    templates = {"base_template": nudger.base_template, "nudging_template": nudger.nudging_template}
    if name == "ensemble":
        ensemble = LogitEnsemble(nudger.base_model, nudger.nudging_model, weight=weight, **templates)
        return Method(name, {**identity, "weight": weight}, _baseline(ensemble, nudger))
    if untuned_model is None:
        raise SettingsError("proxy tuning needs the nudging model before it was tuned: give untuned_model")
    proxy = ProxyTuning(nudger.base_model, nudger.nudging_model, untuned_model, alpha=alpha, **templates)
    untuned = untuned_model.identity if isinstance(untuned_model, Model) else str(untuned_model)
    return Method(name, {**identity, "untuned_model": untuned, "alpha": alpha}, _baseline(proxy, nudger))


def _identity(name: str, nudger: Nudger) -> dict[str, Any]:
    """Return the part of the pair's identity that matters to a method."""
    unused = [] if name == "nudged" else ["rule", "threshold", "bet", "end", "lookahead"]
    if name in ("base", "nudging"):
        unused.append("nudging_" if name == "base" else "base_")  # the other model's fields
    return {key: value for key, value in nudger.identity.items() if not key.startswith(tuple(unused))}


def _nudged(nudger: Nudger, settings: Mapping[str, Any]) -> AnswerFunction:
    def answer(prompt: Prompt, options: Options, cancelled: Event) -> AnswerRecord:
        with nudger.stream(prompt, **{**options, **settings}) as stream:
            for _ in stream:
                if cancelled.is_set():
                    break
            return AnswerRecord.from_answer(stream.answer)

    return answer


def _alone(author: Author, nudger: Nudger) -> AnswerFunction:
    def answer(prompt: Prompt, options: Options, cancelled: Event) -> AnswerRecord:
        return AnswerRecord.from_answer(generate_alone(nudger, author, prompt, cancelled=cancelled, **options))

    return answer


def _baseline(baseline: LogitEnsemble | ProxyTuning, nudger: Nudger) -> AnswerFunction:
    def answer(prompt: Prompt, options: Options, cancelled: Event) -> AnswerRecord:
        settings = nudger.settings.model_dump(include=BASELINE_OPTIONS)
        settings |= {name: value for name, value in options.items() if name in BASELINE_OPTIONS}
        generation = baseline.generate(prompt, **settings)
        # no single model wrote the tokens; "base" is shown as plain text
        return AnswerRecord((("base", generation.text),), generation.finish_reason, generation.tokens)

    return answer
