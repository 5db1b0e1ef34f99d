"""Find the setting that suits a pair and its questions: `nudging tune`.

Half of the questions choose a setting by successive halving (`halving.py`). The chosen one, either model alone and the
paper's rule then answer the other half, and only that half says what the setting gains. Every answer is logged as it
comes, and an answer in the log is never generated again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean
from threading import Event
from time import perf_counter
from typing import Any, get_args

from nudging._logging import log
from nudging.errors import DataError, PromptError, SettingsError, UnsupportedModelError
from nudging.evaluation.answer_log import AnswerLog, AnswerRecord, log_key
from nudging.evaluation.halving import answer_count, half, round_sizes
from nudging.evaluation.intervals import paired_interval, share_interval
from nudging.evaluation.methods import Method, did_you_mean, make_method
from nudging.evaluation.results import Interval
from nudging.evaluation.tune_data import Question
from nudging.nudger import Nudger
from nudging.settings import NUMBERS, RuleName, Settings

RULES: tuple[RuleName, ...] = get_args(RuleName)
"""All rules, the simplest first."""

PARAMETERS: Mapping[str, str] = {rule: names[0] for rule, names in NUMBERS.items()}
"""The number of each rule that is tuned."""

FEW_QUESTIONS = 20
"""With fewer held questions, a report says that its numbers are rough."""


@dataclass(frozen=True)
class Setting:
    """A rule and its numbers.

    Args:
        rule: The rule.
        value: Its threshold, or its bet.
        end: The probability of a sure end. 0 is none.
    """

    rule: RuleName
    value: float
    end: float = 0.0

    @property
    def options(self) -> dict[str, Any]:
        """The fields of `Settings` that it sets."""
        return {"rule": self.rule, PARAMETERS[self.rule]: self.value, "end": self.end}

    @property
    def label(self) -> str:
        """The setting in tables: `bet, bet=0.2, end=0.5`."""
        end = f", end={self.end:g}" if self.end else ""
        return f"{self.rule}, {PARAMETERS[self.rule]}={self.value:g}{end}"

    @property
    def phrase(self) -> str:
        """The setting in a sentence: `rule bet with bet=0.2 and end=0.5`."""
        end = f" and end={self.end:g}" if self.end else ""
        return f"rule {self.rule} with {PARAMETERS[self.rule]}={self.value:g}{end}"


PAPER = Setting("words", 0.4)
"""The rule of the paper with its threshold."""


@dataclass(frozen=True)
class System:
    """A way of answering.

    Args:
        pair: The index of the pair that answers, from 0.
        method: "nudged", "base" or "nudging" (one model alone).
        setting: The setting of nudging. None for one model alone.
    """

    pair: int
    method: str
    setting: Setting | None = None


@dataclass(frozen=True)
class TunedAnswer:
    """One answer with its score and its time.

    Args:
        record: The answer.
        is_right: True if its text is right, even if it was cut off.
        seconds: The time from its prompt to its end.
    """

    record: AnswerRecord
    is_right: bool
    seconds: float

    @property
    def is_useful(self) -> bool:
        """True if the answer is right and ended by itself."""
        return self.is_right and self.record.ended


@dataclass(frozen=True)
class Result:
    """The answers of one system, to one question after the other."""

    answers: tuple[TunedAnswer, ...]

    @property
    def right(self) -> Interval:
        """The share of right answers."""
        return Interval(*share_interval([one.is_right for one in self.answers]))

    @property
    def ended(self) -> Interval:
        """The share of answers that ended by themselves."""
        return Interval(*share_interval([one.record.ended for one in self.answers]))

    @property
    def score(self) -> Interval:
        """The share of answers that are right and ended by themselves."""
        return Interval(*share_interval([one.is_useful for one in self.answers]))

    @property
    def tokens(self) -> float:
        """The mean length of an answer, in tokens."""
        return fmean(one.record.tokens for one in self.answers)

    @property
    def nudged_tokens(self) -> float:
        """Number of tokens that the nudging model wrote, in all answers."""
        return sum(one.record.tokens * one.record.nudge_ratio for one in self.answers)

    @property
    def nudge_ratio(self) -> float:
        """The share of all tokens that the nudging model wrote, in [0, 1]."""
        return self.nudged_tokens / max(1, sum(one.record.tokens for one in self.answers))

    @property
    def seconds(self) -> float:
        """The mean time of an answer, in seconds."""
        return fmean(one.seconds for one in self.answers)

    @property
    def speed(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def unanswered(self) -> int:
        """Number of questions that could not be asked. They count as wrong."""
        return sum(bool(one.record.problem) for one in self.answers)

    def gain_over(self, other: "Result") -> Interval:
        """Return the difference of the scores on the same questions, with its paired interval."""
        return Interval(
            *paired_interval([one.is_useful for one in self.answers], [one.is_useful for one in other.answers])
        )


@dataclass(frozen=True)
class Tuning:
    """The result of a tuning.

    Args:
        pairs: The names of the base model and the nudging model of each pair.
        chosen: The recommended system.
        tried: The results of all settings, each on the questions that it reached; the best first.
        held: The results on the questions that were held back: of the chosen system, of either model alone and of the
            paper's rule.
        choosing: Number of questions that chose.
        left_out: The settings that a pair does not support, with the reason.
    """

    pairs: tuple[tuple[str, str], ...]
    chosen: System
    tried: Mapping[System, Result]
    held: Mapping[System, Result]
    choosing: int
    left_out: Mapping[System, str]

    @property
    def best(self) -> Result:
        """The result of the chosen system on the held questions."""
        return self.held[self.chosen]

    @property
    def setting(self) -> Setting:
        """The recommended setting."""
        assert self.chosen.setting is not None  # noqa: S101 (only nudging is chosen)
        return self.chosen.setting


def combinations(
    rules: Sequence[str], thresholds: Sequence[float], bets: Sequence[float], ends: Sequence[float]
) -> list[Setting]:
    """Return every combination of a rule, its thresholds (or bets) and an end, without duplicates.

    Raises:
        SettingsError: A rule is unknown, a number is out of range, or there is nothing to try.
    """
    settings: list[Setting] = []
    for rule in rules:
        if rule not in RULES:
            raise SettingsError(f"there is no rule {rule!r}: {did_you_mean(rule, dict.fromkeys(RULES))}")
        values = bets if PARAMETERS[rule] == "bet" else thresholds
        settings += [Setting(rule, float(value), float(end)) for value, end in product(values, ends)]
    if not settings:
        raise SettingsError("there is no setting to try: give at least one rule, one threshold or bet, and one end")
    for setting in settings:
        Settings.checked(setting.options)
    return list(dict.fromkeys(settings))


def check_questions(questions: Sequence[Question]) -> None:
    """Raise if there are too few questions to choose with one half and test with the other.

    Raises:
        DataError: There are fewer than two.
    """
    if len(questions) < 2:
        raise DataError(
            f"there is {len(questions)} question: half of the questions choose the setting and the other half test it, "
            f"so give at least 2, better {2 * FEW_QUESTIONS} or more"
        )


def split(questions: Sequence[Question]) -> tuple[list[Question], list[Question]]:
    """Return the questions that choose, and those that are held back.

    The order is random and depends only on each question's own text: the same file gives the same halves anywhere.
    """
    shuffled = sorted(questions, key=lambda question: question.digest)
    middle = -(-len(shuffled) // 2)
    return shuffled[:middle], shuffled[middle:]


def tune(
    nudgers: Sequence[Nudger],
    questions: Sequence[Question],
    settings: Sequence[Setting],
    answer_log: AnswerLog,
    *,
    at_once: int = 1,
    answered: Callable[[str, int], None] = lambda label, total: None,
) -> Tuning:
    """Return the best of these settings, tested on questions that did not choose it.

    Args:
        nudgers: The pairs to choose from. They have one base model.
        questions: The questions, two or more.
        settings: The settings to choose from.
        answer_log: The log from which known answers are read, and to which new ones are added.
        at_once: Number of answers that are generated at the same time.
        answered: Called after each answer with (stage, number of answers in all).

    Raises:
        SettingsError: A number is out of range.
        DataError: There are too few questions.
        UnsupportedModelError: No setting can be used with these models.
        NudgingError: An error that `Nudger.generate` raises.
    """
    check_questions(questions)
    if at_once < 1:
        raise SettingsError(f"at_once={at_once}: give the number of answers to generate at once, 1 or more")
    choosing, held = split(questions)
    candidates = [System(pair, "nudged", setting) for pair in range(len(nudgers)) for setting in settings]
    sizes = round_sizes(len(candidates), len(choosing))
    run = _Run(nudgers, answer_log, at_once, answered)
    run.total = answer_count(len(candidates), len(choosing)) + 4 * len(held)
    tried: dict[System, Result] = {}
    for number, (_, count) in enumerate(sizes, start=1):
        label = f"choosing, round {number} of {len(sizes)}: {len(candidates)} settings, {count} questions"
        results = run.results(candidates, choosing[:count], label)
        ranked = sorted(results, key=lambda system: _rank(system, results[system]))
        tried = {system: results[system] for system in ranked} | {
            system: result for system, result in tried.items() if system not in results
        }
        candidates = ranked[: half(len(ranked))]
    chosen = candidates[0]
    systems = [System(chosen.pair, "base"), System(chosen.pair, "nudging"), System(chosen.pair, "nudged", PAPER)]
    systems = list(dict.fromkeys([chosen, *systems]))
    run.total = run.count + len(systems) * len(held)
    tested = run.results(systems, held, f"testing on {len(held)} held questions")
    return Tuning(
        tuple(nudger.model_names for nudger in nudgers),
        chosen,
        {system: result for system, result in tried.items() if system not in run.left_out},
        tested,
        len(choosing),
        run.left_out,
    )


def _rank(system: System, result: Result) -> tuple[Any, ...]:
    """Return the sort key of a candidate, the best first: its score, then its cost, then how simple it is.

    No time is part of it, so that an interrupted run chooses as an uninterrupted one does.
    """
    setting = system.setting
    assert setting is not None  # noqa: S101 (only nudging is ranked)
    useful = sum(one.is_useful for one in result.answers)
    simple = (RULES.index(setting.rule), setting.end, setting.value, system.pair)
    return -useful, round(result.nudged_tokens, 6), *simple


class _Run:
    """Answers from the log, and new ones for it."""

    def __init__(
        self, nudgers: Sequence[Nudger], answer_log: AnswerLog, at_once: int, answered: Callable[[str, int], None]
    ) -> None:
        self.total = 0
        self.left_out: dict[System, str] = {}
        self._nudgers, self._log, self._at_once, self._answered = nudgers, answer_log, at_once, answered
        self._methods: dict[System, Method] = {}
        self._counted: set[str] = set()

    @property
    def count(self) -> int:
        """Number of answers so far."""
        return len(self._counted)

    def results(self, systems: Sequence[System], questions: Sequence[Question], label: str) -> dict[System, Result]:
        """Return the results of all systems on these questions, without systems that a pair does not support.

        All systems answer a question before the next one begins, because they share the KV cache of its prompt. Each
        question begins with another system, because the first one pays for the prompt.

        Raises:
            UnsupportedModelError: The pairs support none of the systems.
        """
        jobs = [
            (system, question)
            for number, question in enumerate(questions)
            for system in (*systems[number % len(systems) :], *systems[: number % len(systems)])
        ]
        self._answer([job for job in jobs if not self._is_known(*job, label)], label)
        found = [system for system in systems if system not in self.left_out]
        if not found:
            raise UnsupportedModelError(f"none of the settings can be used: {self.left_out[systems[0]]}")
        return {system: Result(tuple(self._known(system, one) for one in questions)) for system in found}

    def _is_known(self, system: System, question: Question, label: str) -> bool:
        key = self._key(system, question)
        if self._log.find(key) is None:
            return False
        self._count(key, label)
        return True

    def _known(self, system: System, question: Question) -> TunedAnswer:
        entry = self._log.find(self._key(system, question))
        assert entry is not None  # noqa: S101 (it was found or generated before)
        record = AnswerRecord.from_dict(entry)
        is_right = not record.problem and question.is_right(record)
        return TunedAnswer(record, is_right, float(entry["seconds"]))

    def _answer(self, jobs: Iterable[tuple[System, Question]], label: str) -> None:
        """Generate these answers and log each one as soon as it is complete."""
        cancelled = Event()
        with ThreadPoolExecutor(self._at_once) as pool:
            futures: dict[Future[dict[str, Any] | None], System] = {
                pool.submit(self._entry, system, question, cancelled): system for system, question in jobs
            }
            try:
                for done in as_completed(futures):
                    try:
                        entry = done.result()
                    except UnsupportedModelError as error:
                        if futures[done].setting is None:
                            raise
                        self.left_out.setdefault(futures[done], str(error))
                        continue
                    if entry is not None:
                        self._log.add(entry)
                        self._count(entry["key"], label)
            finally:
                cancelled.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def _entry(self, system: System, question: Question, cancelled: Event) -> dict[str, Any] | None:
        """Return the log's entry of a new answer, or None if the system is left out."""
        if system in self.left_out:
            return None
        method, started = self._method(system), perf_counter()
        try:
            record = method.answer(question.messages, {}, cancelled)
        except PromptError as error:
            log.warning("question %s cannot be asked: %s", question.id, error)
            record = AnswerRecord(problem=str(error))
        return {
            "key": self._key(system, question),
            "id": question.id,
            "method": system.method,
            "nudging_model": self._nudgers[system.pair].model_names[1],
            **(system.setting.options if system.setting else {}),
            "seconds": round(perf_counter() - started, 4),
            **record.to_dict(),
        }

    def _method(self, system: System) -> Method:
        if system not in self._methods:
            nudger, setting = self._nudgers[system.pair], system.setting
            method = make_method(system.method, nudger, settings=setting.options if setting else None)
            if setting:
                # without the numbers of other rules, which change nothing
                others = {*PARAMETERS.values()} - {*setting.options}
                identity = {name: value for name, value in method.identity.items() if name not in others}
                method = replace(method, identity=identity)
            self._methods[system] = method
        return self._methods[system]

    def _key(self, system: System, question: Question) -> str:
        method = self._method(system)
        return log_key(method=method.name, identity=method.identity, messages=question.messages)

    def _count(self, key: str, label: str) -> None:
        if key not in self._counted:
            self._counted.add(key)
            self._answered(label, self.total)
