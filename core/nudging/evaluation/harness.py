"""The model `nudging` for lm-evaluation-harness: `--model nudging --model_args base_model=...,threshold=0.4`."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from tqdm import tqdm  # type: ignore[import-untyped]

import nudging
from nudging.errors import PromptError, SettingsError, UnsupportedModelError
from nudging.evaluation.ledger import Answered, Ledger, Written, key_of
from nudging.evaluation.methods import Method, method
from nudging.models.config import ModelName
from nudging.nudger import AT_ONCE, Nudger
from nudging.prompting.conversation import Prompt, Prompts
from nudging.request import Options

log = logging.getLogger(__name__)

DEMO = "demo"
"""In place of a model's name: the demo pair's."""


class Conversation(str):
    """Messages, as the text that lm-evaluation-harness has a prompt be: JSON."""


class NudgingLM(LM):  # type: ignore[misc]
    """A pair that answers: with `generate_until`, the only kind of request there is to a pair.

    With `apply_chat_template` the messages reach both models as they are; without it, a prompt is one user's turn.

    Args:
        base_model: As `Nudger` takes it, or "demo".
        nudging_model: Likewise.
        method: "nudged", "base" and "nudging" (either model alone), "ensemble" or "proxy".
        batch_size: How many answers are worked on at a time; "auto" is sixteen.
        max_batch_size: Not used.
        device: Of local models; one that is not there (lm_eval's default is "cuda:0") is left to `Nudger`.
        untuned_model: For proxy tuning.
        weight: For the ensemble.
        alpha: For proxy tuning.
        **settings: Of `Nudger`: threshold, lookahead, max_tokens, base_url, dtype, ...

    Raises:
        SettingsError: A setting is unknown, or out of its range.
        ModelError: The pair cannot be used with this method.
    """

    def __init__(
        self,
        base_model: ModelName = DEMO,
        nudging_model: ModelName = DEMO,
        method: str = "nudged",
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        device: str | None = None,
        untuned_model: ModelName | None = None,
        weight: float = 0.5,
        alpha: float = 1.0,
        **settings: Any,
    ) -> None:
        base_model, nudging_model = _with_demo(base_model, nudging_model)
        try:
            nudger = Nudger(base_model, nudging_model, device=_present(device), **settings)
        except TypeError as error:
            raise SettingsError(f"model_args: {str(error).removeprefix('Nudger.__init__() ')}") from None
        made = _method(method, nudger, untuned_model=untuned_model, weight=weight, alpha=alpha)
        self._begin(nudger, made, AT_ONCE if str(batch_size).startswith("auto") else int(batch_size))

    @classmethod
    def of(
        cls,
        nudger: Nudger,
        method: Method,
        at_once: int = 1,
        ledger: Ledger | None = None,
        answered: Callable[[], None] | None = None,
    ) -> "NudgingLM":
        """One on a pair and a method that are there already.

        Args:
            nudger: The pair.
            method: How it answers.
            at_once: How many answers are worked on at a time.
            ledger: Where answers are kept, and found again.
            answered: Called after every answer, in place of a progress bar.
        """
        made = cls.__new__(cls)
        made._begin(nudger, method, at_once, ledger, answered)
        return made

    def _begin(
        self,
        nudger: Nudger,
        method: Method,
        at_once: int,
        ledger: Ledger | None = None,
        answered: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        if at_once < 1:
            raise SettingsError(f"batch_size={at_once}: give the number of answers to work on at a time, 1 or more")
        self.nudger, self.method = nudger, method
        self.batch_size, self._ledger, self._answered = at_once, ledger, answered

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The answers, in order; each is kept as soon as it is there.

        A prompt that cannot be answered (it is longer than a context) has the empty answer, and the log says why.
        """
        results: list[str] = [""] * len(requests)
        with tqdm(total=len(requests), desc=self.method.name, disable=disable_tqdm or bool(self._answered)) as bar:
            for at, answered in self._answers(requests):
                results[at] = Written.by(answered)
                self.cache_hook.add_partial("generate_until", requests[at].args, results[at])
                bar.update()
                if self._answered:
                    self._answered()
        return results

    def _answers(self, requests: list[Instance]) -> Iterator[tuple[int, Answered]]:
        """Every answer and its place, those that are known first."""
        unknown = []
        for at, request in enumerate(requests):
            if self._ledger is not None and (record := self._ledger.find(self._key(request))):
                yield at, Answered.from_record(record)
            else:
                unknown.append(at)
        given_up = Event()
        with ThreadPoolExecutor(self.batch_size) as pool:
            places = {pool.submit(self._answer, requests[at], given_up): at for at in unknown}
            try:
                for done in as_completed(places):
                    at, answered = places[done], done.result()
                    if self._ledger is not None:
                        self._ledger.add(self._record(requests[at], answered))
                    yield at, answered
            finally:
                given_up.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, request: Instance, given_up: Event) -> Answered:
        context, wanted = request.args
        try:
            return self.method.answer(self._prompt(context), _options(wanted), given_up)
        except PromptError as error:
            log.warning("%s, question %s is not answered: %s", request.task_name, request.doc_id, error)
            return Answered(problem=str(error))

    def _prompt(self, context: str) -> Prompt:
        """What lm-evaluation-harness asks with. A last turn of the assistant is the beginning of its answer."""
        if not isinstance(context, Conversation):
            return context
        messages: list[dict[str, str]] = json.loads(context)
        if messages[-1]["role"] != "assistant":
            return messages
        prompts = self.nudger.prompts(messages[:-1])
        return Prompts(prompts.base + messages[-1]["content"], prompts.nudging + messages[-1]["content"])

    def _key(self, request: Instance) -> str:
        context, wanted = request.args
        return key_of(
            method=self.method.name,
            identity=self.method.identity,
            task=request.task_name,
            id=_id(request),
            prompt=context,
            options=wanted,
        )

    def _record(self, request: Instance, answered: Answered) -> dict[str, Any]:
        how = {"method": self.method.name, "threshold": self.method.identity.get("threshold")}
        return {
            "key": self._key(request),
            "task": request.task_name,
            "id": _id(request),
            **how,
            **answered.to_record(),
        }

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The messages as they are: both models' prompts are rendered from them when they are asked."""
        turns = [dict(turn) for turn in chat_history]
        if turns[0]["role"] == "system":  # a description ends with what parts it from a question in plain text
            turns[0]["content"] = turns[0]["content"].rstrip("\n")
        return Conversation(json.dumps(turns, ensure_ascii=False))

    def chat_template(self, chat_template: bool | str = False) -> str:
        """For the record of a run."""
        return "messages as JSON: the nudging model's own template, and plain text for the base model"

    @property
    def tokenizer_name(self) -> str:
        """For the names of request caches."""
        return self.nudger.name.replace("/", "__").replace(" ", "")

    def get_model_info(self) -> dict[str, Any]:
        """For the record of a run."""
        identity = json.loads(json.dumps(self.method.identity, default=str))
        return {"nudging_version": nudging.__version__, "nudging_method": self.method.name, "nudging_pair": identity}

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        raise UnsupportedModelError(_ONLY_GENERATES)

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise UnsupportedModelError(_ONLY_GENERATES)


_method = method

_ONLY_GENERATES = (
    "a nudged pair writes answers; it has no probability of its own for a given text, so tasks of the types "
    "multiple_choice, loglikelihood and loglikelihood_rolling cannot be run on it. Choose tasks of the type "
    "generate_until: nudging_paper (thirteen of them), gsm8k, ifeval, bbh_zeroshot, ..."
)


def _with_demo(base_model: ModelName, nudging_model: ModelName) -> tuple[ModelName, ModelName]:
    if DEMO not in (base_model, nudging_model):
        return base_model, nudging_model
    from nudging.models.demo import demo_pair

    base, nudger = demo_pair()
    return (base if base_model == DEMO else base_model), (nudger if nudging_model == DEMO else nudging_model)


def _present(device: str | None) -> str | None:
    """The device, if the machine has it."""
    if device is None or not device.startswith("cuda"):
        return device
    from torch import cuda

    return device if cuda.is_available() else None


def _id(request: Instance) -> str:
    return str(request.doc.get("id", request.doc_id)) if isinstance(request.doc, Mapping) else str(request.doc_id)


def _options(wanted: Mapping[str, Any]) -> Options:
    """What a task asks of generation, in our words: greedy unless it says otherwise. The rest has no counterpart."""
    until = wanted.get("until") or []
    options: Options = {"stop": [until] if isinstance(until, str) else [stop for stop in until if stop]}
    for name in ("max_gen_toks", "max_new_tokens", "max_tokens"):
        if wanted.get(name) is not None:
            options["max_tokens"] = int(wanted[name])
            break
    temperature = float(wanted.get("temperature") or 0.0)
    options["temperature"] = temperature if wanted.get("do_sample", temperature > 0) else 0.0
    if wanted.get("top_p") is not None and options["temperature"]:
        options["top_p"] = float(wanted["top_p"])
    return options
