"""How an answer is made: nudged, by one of the two models alone, or by an earlier method."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from threading import Event
from typing import Any, TypeAlias

from nudging.answer import Author
from nudging.errors import SettingsError
from nudging.evaluation.ledger import Answered
from nudging.evaluation.single_model import alone
from nudging.models.base import Model
from nudging.models.config import ModelName
from nudging.nudger import Nudger
from nudging.prompting.conversation import Prompt
from nudging.request import Options

Answering: TypeAlias = Callable[[Prompt, Options, Event], Answered]
"""Answers a prompt with these options; once the event is set, the answer is no longer wanted."""

METHODS: Mapping[str, str] = {
    "base": "base model alone",
    "nudging": "nudging model alone",
    "nudged": "nudged",
    "ensemble": "logit ensemble",
    "proxy": "proxy tuning",
}
"""What there is, and how it is called in tables."""


@dataclass(frozen=True)
class Method:
    """A way to answer, ready to.

    Args:
        name: One of `METHODS`.
        identity: All that shapes an answer but its prompt and options, for keys.
        answer: Makes one.
    """

    name: str
    identity: Mapping[str, Any]
    answer: Answering


def check_method(name: str) -> str:
    """The name, if it is a method's.

    Raises:
        SettingsError: It is not; the message says what may have been meant.
    """
    if name in METHODS:
        return name
    raise SettingsError(f"there is no method {name!r}: {did_you_mean(name, METHODS)}")


def did_you_mean(name: str, known: Mapping[str, Any]) -> str:
    """A hint at what there is, the likeliest first."""
    likely = get_close_matches(name, known, n=1)
    return (f"did you mean {likely[0]!r}? " if likely else "") + f"Choose from {', '.join(known)}"


def method(
    name: str,
    nudger: Nudger,
    *,
    threshold: float | None = None,
    untuned_model: ModelName | None = None,
    weight: float = 0.5,
    alpha: float = 1.0,
) -> Method:
    """A method on a pair.

    Args:
        name: One of `METHODS`.
        nudger: The pair, and the settings of its answers.
        threshold: Of nudging, in place of the nudger's.
        untuned_model: For proxy tuning: the nudging model as it was before its tuning.
        weight: For the ensemble: of the nudging model's logits, in [0, 1].
        alpha: For proxy tuning: how much of the tuning is carried over.

    Raises:
        SettingsError: There is no such method, or it lacks a model.
        ModelError: The pair's tokenizers forbid it.
    """
    side = {"base": "nudging", "nudging": "base"}.get(check_method(name), "")
    identity = {key: value for key, value in nudger.identity.items() if not side or not key.startswith(f"{side}_")}
    if name != "nudged":
        identity = {key: value for key, value in identity.items() if key not in ("threshold", "lookahead")}
    if name in ("base", "nudging"):
        return Method(name, identity, _alone(name, nudger))
    if name == "nudged":
        threshold = nudger.settings.threshold if threshold is None else threshold
        return Method(name, {**identity, "threshold": threshold}, _nudged(nudger, threshold))
    if name == "proxy" and untuned_model is None:
        raise SettingsError("proxy tuning needs the nudging model as it was before its tuning: give untuned_model")
    baselines = import_module("nudging.evaluation.baselines")  # what it needs is only there with local models
    templates = {"base_template": nudger.base_template, "nudging_template": nudger.nudging_template}
    if name == "ensemble":
        ensemble = baselines.LogitEnsemble(nudger.base_model, nudger.nudging_model, weight=weight, **templates)
        return Method(name, {**identity, "weight": weight}, _mixed(ensemble, nudger))
    proxy = baselines.ProxyTuning(nudger.base_model, nudger.nudging_model, untuned_model, alpha=alpha, **templates)
    untuned = untuned_model.identity if isinstance(untuned_model, Model) else str(untuned_model)
    return Method(name, {**identity, "untuned_model": untuned, "alpha": alpha}, _mixed(proxy, nudger))


def _nudged(nudger: Nudger, threshold: float) -> Answering:
    def answer(prompt: Prompt, options: Options, given_up: Event) -> Answered:
        nudged: Options = {**options, "threshold": threshold}
        with nudger.stream(prompt, **nudged) as stream:
            for _ in stream:
                if given_up.is_set():
                    break
            return Answered.of(stream.answer)

    return answer


def _alone(name: str, nudger: Nudger) -> Answering:
    author: Author = "base" if name == "base" else "nudging"

    def answer(prompt: Prompt, options: Options, given_up: Event) -> Answered:
        return Answered.of(alone(nudger, author, prompt, given_up=given_up, **options))

    return answer


def _mixed(baseline: Any, nudger: Nudger) -> Answering:
    known = ("max_tokens", "stop", "temperature", "top_p", "seed")

    def answer(prompt: Prompt, options: Options, given_up: Event) -> Answered:
        settings = nudger.settings.model_dump(include=set(known)) | {
            name: value for name, value in options.items() if name in known
        }
        written = baseline.generate(prompt, **settings)
        # its tokens are of no model alone; the base model's style is that of plain text
        return Answered((("base", written.text),), written.finish_reason, written.tokens)

    return answer
