"""The model `nudging` for lm-evaluation-harness: `--model nudging --model_args base_model=...,threshold=0.4`."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Event
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from tqdm import tqdm  # type: ignore[import-untyped]

import nudging
from nudging._logging import log
from nudging.answer import Author
from nudging.config import config_values
from nudging.errors import PromptError, SettingsError, UnsupportedModelError
from nudging.evaluation.answer_log import AnswerLog, AnswerRecord, AnswerText, log_key
from nudging.evaluation.methods import Method, make_method
from nudging.models.base import Model
from nudging.models.config import ModelName, backend_of
from nudging.nudger import AT_ONCE, Nudger
from nudging.prompting.conversation import Prompt, Prompts
from nudging.request import Options

DEMO = "demo"
"""The name that stands for a model of the demo pair."""


class Conversation(str):
    """Messages as JSON, because lm-evaluation-harness requires prompts to be strings."""


class NudgingLM(LM):  # type: ignore[misc]
    """A pair for lm-evaluation-harness. It supports `generate_until` requests only.

    With `apply_chat_template` both models get the messages. Without it, the prompt is one user message.

    Args:
        base_model: The base model, as for `Nudger`, or "demo"; default the config file's, or else "demo".
        nudging_model: The nudging model, with the same defaults.
        method: "nudged", "base" or "nudging" (one model alone), "ensemble" or "proxy".
        batch_size: Number of answers that are generated at the same time; "auto" means 16.
        max_batch_size: Not used.
        device: Device of local models. If the machine does not have it (lm_eval's default is "cuda:0"), `Nudger`
            chooses. A device or device map in the config file replaces it.
        untuned_model: For proxy tuning: the nudging model before it was tuned.
        weight: For the ensemble: the weight of the nudging model, in [0, 1].
        alpha: For proxy tuning: the factor of the difference that tuning made.
        config: A config file with arguments of `Nudger`. The arguments given here replace them.
        **settings: Other arguments of `Nudger`: threshold, lookahead, max_tokens, base_url, dtype, ...

    Raises:
        SettingsError: A setting is unknown or out of range.
        ModelError: The pair cannot be used with this method.
    """

    def __init__(
        self,
        base_model: ModelName | None = None,
        nudging_model: ModelName | None = None,
        method: str = "nudged",
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        device: str | None = None,
        untuned_model: ModelName | None = None,
        weight: float = 0.5,
        alpha: float = 1.0,
        config: str | Path | None = None,
        **settings: Any,
    ) -> None:
        settings = (config_values(config) if config else {}) | settings
        of_file = {author: settings.pop(f"{author}_model", DEMO) for author in ("base", "nudging")}
        models: dict[Author, ModelName] = {
            "base": of_file["base"] if base_model is None else base_model,
            "nudging": of_file["nudging"] if nudging_model is None else nudging_model,
        }
        models = {author: _resolved(author, model, settings) for author, model in models.items()}
        if settings.get("device") is None and settings.get("device_map") is None:
            is_on_torch = any(_is_on_torch(*one, settings) for one in models.items())
            settings["device"] = _available(device) if is_on_torch else None
        nudger = Nudger(models["base"], models["nudging"], **settings)
        made = make_method(method, nudger, untuned_model=untuned_model, weight=weight, alpha=alpha)
        self._configure(nudger, made, AT_ONCE if str(batch_size).startswith("auto") else int(batch_size))

    @classmethod
    def of(
        cls,
        nudger: Nudger,
        method: Method,
        at_once: int = 1,
        answer_log: AnswerLog | None = None,
        on_answer: Callable[[], None] | None = None,
    ) -> "NudgingLM":
        """Return the model of an existing pair and method.

        Args:
            nudger: The pair.
            method: The method of answering.
            at_once: Number of answers that are generated at the same time.
            answer_log: A log from which known answers are read and to which new ones are added.
            on_answer: Called after every answer. It replaces the progress bar.
        """
        made = cls.__new__(cls)
        made._configure(nudger, method, at_once, answer_log, on_answer)
        return made

    def _configure(
        self,
        nudger: Nudger,
        method: Method,
        at_once: int,
        answer_log: AnswerLog | None = None,
        on_answer: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        if at_once < 1:
            raise SettingsError(f"batch_size={at_once}: give the number of answers to generate at once, 1 or more")
        self.nudger, self.method = nudger, method
        self.batch_size, self._log, self._on_answer = at_once, answer_log, on_answer

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return the answers in order. Each one is logged as soon as it is complete.

        If a prompt is longer than a context, the answer is empty and a warning names the reason.
        """
        texts: list[str] = [""] * len(requests)
        with tqdm(total=len(requests), desc=self.method.name, disable=disable_tqdm or bool(self._on_answer)) as bar:
            for index, record in self._answers(requests):
                texts[index] = AnswerText.of(record)
                self.cache_hook.add_partial("generate_until", requests[index].args, texts[index])
                bar.update()
                if self._on_answer:
                    self._on_answer()
        return texts

    def _answers(self, requests: list[Instance]) -> Iterator[tuple[int, AnswerRecord]]:
        """Yield the index of each request and its answer, known answers first."""
        unknown = []
        for index, request in enumerate(requests):
            if self._log is not None and (entry := self._log.find(self._key(request))):
                yield index, AnswerRecord.from_dict(entry)
            else:
                unknown.append(index)
        cancelled = Event()
        with ThreadPoolExecutor(self.batch_size) as pool:
            indices = {pool.submit(self._answer, requests[index], cancelled): index for index in unknown}
            try:
                for done in as_completed(indices):
                    index, record = indices[done], done.result()
                    if self._log is not None:
                        self._log.add(self._entry(requests[index], record))
                    yield index, record
            finally:
                cancelled.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, request: Instance, cancelled: Event) -> AnswerRecord:
        context, generation_kwargs = request.args
        try:
            return self.method.answer(self._prompt(context), _options(generation_kwargs), cancelled)
        except PromptError as error:
            log.warning("%s, question %s cannot be asked: %s", request.task_name, request.doc_id, error)
            return AnswerRecord(problem=str(error))

    def _prompt(self, context: str) -> Prompt:
        """Return the prompt of a request. A last message of the assistant is the start of the answer."""
        if not isinstance(context, Conversation):
            return context
        messages: list[dict[str, str]] = json.loads(context)
        if messages[-1]["role"] != "assistant":
            return messages
        prompts = self.nudger.prompts(messages[:-1])
        return Prompts(prompts.base + messages[-1]["content"], prompts.nudging + messages[-1]["content"])

    def _key(self, request: Instance) -> str:
        context, generation_kwargs = request.args
        return log_key(
            method=self.method.name,
            identity=self.method.identity,
            task=request.task_name,
            id=_id(request),
            prompt=context,
            options=generation_kwargs,
        )

    def _entry(self, request: Instance, record: AnswerRecord) -> dict[str, Any]:
        return {
            "key": self._key(request),
            "task": request.task_name,
            "id": _id(request),
            "method": self.method.name,
            "threshold": self.method.identity.get("threshold"),
            **record.to_dict(),
        }

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return the messages unrendered: `Nudger` renders them for both models."""
        messages = [dict(message) for message in chat_history]
        if messages[0]["role"] == "system":  # its line break separates it from the question in plain text
            messages[0]["content"] = messages[0]["content"].rstrip("\n")
        return Conversation(json.dumps(messages, ensure_ascii=False))

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Return a description for the harness's report."""
        return "messages as JSON: the nudging model's own template, and plain text for the base model"

    @property
    def tokenizer_name(self) -> str:
        """The pair's name, for the names of request caches."""
        return self.nudger.name.replace("/", "__").replace(" ", "")

    def get_model_info(self) -> dict[str, Any]:
        """Return the pair and the method, for the harness's report."""
        identity = json.loads(json.dumps(self.method.identity, default=str))
        return {"nudging_version": nudging.__version__, "nudging_method": self.method.name, "nudging_pair": identity}

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        raise UnsupportedModelError(_ONLY_GENERATES)

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise UnsupportedModelError(_ONLY_GENERATES)


_ONLY_GENERATES = (
    "a nudged pair writes answers and has no probability for a given text, so tasks of the types multiple_choice, "
    "loglikelihood and loglikelihood_rolling cannot be run on it. Choose tasks of the type generate_until: "
    "nudging_paper (thirteen tasks), gsm8k, ifeval, bbh_zeroshot, ..."
)


def _resolved(author: Author, model: ModelName, settings: Mapping[str, Any]) -> ModelName:
    """Return a model, or the demo pair's if it is "demo"."""
    if model != DEMO:
        return model
    from nudging.models.demo import demo_model

    return demo_model(author, backend=settings.get(f"{author}_backend"))


def _is_on_torch(author: Author, model: ModelName, settings: Mapping[str, Any]) -> bool:
    """Return True if a model needs a device: lm_eval names one by default, which models elsewhere have no use for."""
    if isinstance(model, Model):
        return False
    backend = backend_of(str(model), settings.get(f"{author}_url"), settings.get(f"{author}_backend"))
    return backend == "transformers"


def _available(device: str | None) -> str | None:
    """Return the device if this machine has it, else None."""
    if device is None or not device.startswith("cuda"):
        return device
    from torch import cuda

    return device if cuda.is_available() else None


def _id(request: Instance) -> str:
    return str(request.doc.get("id", request.doc_id)) if isinstance(request.doc, Mapping) else str(request.doc_id)


def _options(generation_kwargs: Mapping[str, Any]) -> Options:
    """Return a task's generation arguments as our options. Decoding is greedy by default; other arguments are ignored.

    Example: `{"until": "Q:", "max_gen_toks": 9}` gives `{"stop": ["Q:"], "max_tokens": 9, "temperature": 0.0}`.
    """
    until = generation_kwargs.get("until") or []
    options: Options = {"stop": [until] if isinstance(until, str) else [stop for stop in until if stop]}
    for name in ("max_gen_toks", "max_new_tokens", "max_tokens"):
        if generation_kwargs.get(name) is not None:
            options["max_tokens"] = int(generation_kwargs[name])
            break
    temperature = float(generation_kwargs.get("temperature") or 0.0)
    options["temperature"] = temperature if generation_kwargs.get("do_sample", temperature > 0) else 0.0
    if generation_kwargs.get("top_p") is not None and options["temperature"]:
        options["top_p"] = float(generation_kwargs["top_p"])
    return options
