"""A tuning: its choice, its log, interruptions, its report and the command."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from nudging import Nudger, PromptError, ScriptedModel, SettingsError, UnsupportedModelError
from nudging.cli import app
from nudging.errors import DataError
from nudging.evaluation import tune as tuning_module
from nudging.evaluation.answer_log import AnswerLog, AnswerRecord
from nudging.evaluation.halving import answer_count
from nudging.evaluation.intervals import paired_interval
from nudging.evaluation.methods import Method, make_method
from nudging.evaluation.results import Interval
from nudging.evaluation.tune import PAPER, Result, Setting, System, TunedAnswer, Tuning, combinations, split, tune
from nudging.evaluation.tune_data import Question
from nudging.evaluation.tune_report import advice, as_markdown, cautions, draw_tuning
from typer.testing import CliRunner

SETTINGS = combinations(["words", "tokens", "bet"], [0.3, 0.4], [0.2], [0.0, 0.5])
BEST = Setting("bet", 0.2, 0.5)
QUESTIONS = [
    Question(str(number), [{"role": "user", "content": f"{number}?"}], lambda answer: "right" in answer.text)
    for number in range(40)
]
WRONG, RAMBLING = AnswerRecord((("base", "no"),), "stop", 9), AnswerRecord((("base", "right"),), "length", 9)
RIGHT = AnswerRecord((("base", "right"),), "stop", 10, 0.1)

Answers = Callable[[str, Mapping[str, Any], str], AnswerRecord]
"""(method, settings, question) -> the answer."""


def best_is_bet(method: str, settings: Mapping[str, Any], question: str) -> AnswerRecord:
    if settings == BEST.options:
        return RIGHT
    return WRONG if method == "nudging" else RAMBLING


class Answering:
    """Replaces the models: answers by a function, and counts who answered what."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.calls: list[tuple[str, str, str]] = []
        self.stop_after: int | None = None
        self.error: BaseException = KeyboardInterrupt()

    def method(self, name: str, nudger: Nudger, settings: Mapping[str, Any] | None = None) -> Method:
        def answer(prompt: Any, options: Any, cancelled: Event) -> AnswerRecord:
            if len(self.calls) == self.stop_after:
                raise self.error
            question = prompt[-1]["content"]
            record = self.answers(name, settings or {}, question)
            self.calls.append((name + nudger.model_names[1], str(settings), question))
            return record

        return Method(name, {"pair": nudger.name, **(settings or {})}, answer)


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Answering:
    made = Answering(best_is_bet)
    monkeypatch.setattr(tuning_module, "make_method", made.method)
    return made


@pytest.fixture
def pair() -> Nudger:
    return Nudger(ScriptedModel("so", name="big"), ScriptedModel("so", name="small"))


def run(
    nudgers: Nudger | Sequence[Nudger], folder: Path, settings: Sequence[Setting] = SETTINGS, **options: Any
) -> Tuning:
    log = AnswerLog(folder / "answers.jsonl")
    try:
        return tune([nudgers] if isinstance(nudgers, Nudger) else nudgers, QUESTIONS, settings, log, **options)
    finally:
        log.close()


def untimed(tuning: Tuning) -> Tuning:
    def results(given: Mapping[System, Result]) -> dict[System, Result]:
        return {
            system: Result(tuple(replace(answer, seconds=1.0) for answer in result.answers))
            for system, result in given.items()
        }

    return replace(tuning, tried=results(tuning.tried), held=results(tuning.held))


# settings


def test_settings_are_the_combinations_of_rules_numbers_and_ends() -> None:
    assert [one.label for one in combinations(["words", "bet"], [0.3, 0.4], [0.2], [0, 0.5])] == [
        "words, threshold=0.3",
        "words, threshold=0.3, end=0.5",
        "words, threshold=0.4",
        "words, threshold=0.4, end=0.5",
        "bet, bet=0.2",
        "bet, bet=0.2, end=0.5",
    ]
    assert combinations(["words", "words"], [0.4, 0.4], [], [0.0]) == [PAPER]
    assert BEST.phrase == "rule bet with bet=0.2 and end=0.5"


@pytest.mark.parametrize(
    ("rules", "thresholds", "ends", "message"),
    [
        (["word"], [0.4], [0.0], "there is no rule 'word': did you mean 'words'"),
        (["words"], [1.4], [0.0], r"threshold=1\.4"),
        (["words"], [0.4], [-1.0], r"end=-1\.0"),
        (["words"], [], [0.0], "there is no setting to try"),
        ([], [0.4], [0.0], "there is no setting to try"),
        (["words"], [0.4], [], "there is no setting to try"),
    ],
)
def test_wrong_settings_raise(rules: list[str], thresholds: list[float], ends: list[float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        combinations(rules, thresholds, [0.2], ends)


# the choice


def test_the_best_setting_is_chosen_on_one_half_and_tested_on_the_other(
    answering: Answering, pair: Nudger, tmp_path: Path
) -> None:
    tuning = run(pair, tmp_path)
    assert tuning.setting == BEST
    assert tuning.choosing == len(tuning.best.answers) == 20
    assert list(tuning.held) == [
        System(0, "nudged", BEST),
        System(0, "base"),
        System(0, "nudging"),
        System(0, "nudged", PAPER),
    ]
    assert [result.score.mean for result in tuning.held.values()] == [1, 0, 0, 0]
    assert [result.right.mean for result in tuning.held.values()] == [1, 1, 0, 1]
    assert [result.ended.mean for result in tuning.held.values()] == [1, 0, 1, 0]
    assert len(tuning.tried) == len(SETTINGS)
    assert next(iter(tuning.tried)) == tuning.chosen
    chose = {question for _, settings, question in answering.calls if settings not in ("None", str(PAPER.options))}
    assert len(chose) == 40  # the chosen setting answered both halves
    others = {
        q for _, settings, q in answering.calls if settings not in ("None", str(PAPER.options), str(BEST.options))
    }
    assert len(others) == 20
    assert not others & {question for _, settings, question in answering.calls if settings == "None"}


def test_the_halves_depend_only_on_the_questions() -> None:
    choosing, held = split(QUESTIONS)
    again, _ = split(QUESTIONS[::-1])
    assert [one.id for one in choosing] == [one.id for one in again]
    assert {one.id for one in choosing} | {one.id for one in held} == {one.id for one in QUESTIONS}
    assert [one.id for one in choosing] != sorted(one.id for one in choosing)
    assert [len(half) for half in split(QUESTIONS[:3])] == [2, 1]


@pytest.mark.parametrize(
    ("nudged", "chosen"),
    [
        ({"words": 0.5, "tokens": 0.2, "bet": 0.3}, "tokens"),  # fewer nudged tokens
        ({"words": 0.2, "tokens": 0.2, "bet": 0.2}, "words"),  # the simpler rule
    ],
)
def test_of_equally_good_settings_the_cheaper_one_is_chosen(
    nudged: dict[str, float], chosen: str, answering: Answering, pair: Nudger, tmp_path: Path
) -> None:
    answering.answers = lambda method, settings, question: replace(
        RIGHT, nudge_ratio=nudged.get(settings.get("rule", ""), 0.0)
    )
    assert run(pair, tmp_path).setting == Setting(chosen, {"words": 0.3, "tokens": 0.3}[chosen])  # type: ignore[arg-type]


def test_a_better_nudging_model_is_chosen(answering: Answering, pair: Nudger, tmp_path: Path) -> None:
    other = Nudger(pair.base_model, ScriptedModel("so", name="other"))
    made = answering.method

    def only_other(name: str, nudger: Nudger, settings: Any = None) -> Method:
        method = made(name, nudger, settings)
        if nudger is other:
            return replace(method, answer=lambda *given: replace(method.answer(*given), written=(("base", "right"),)))
        return replace(method, answer=lambda *given: WRONG)

    tuning_module.make_method = only_other  # the fixture restores it
    tuning = run([pair, other], tmp_path, [PAPER, BEST])
    assert tuning.chosen == System(1, "nudged", BEST)
    assert "Use other and rule bet with bet=0.2 and end=0.5: 100%" in advice(tuning)
    assert "| small: bet, bet=0.2, end=0.5 |" in as_markdown(tuning)


def test_one_setting_needs_no_choice(answering: Answering, pair: Nudger, tmp_path: Path) -> None:
    tuning = run(pair, tmp_path, [PAPER])
    assert tuning.setting == PAPER
    assert (tuning.tried, len(tuning.held)) == ({}, 3)
    assert len(answering.calls) == 3 * 20
    draw_tuning(tuning, tmp_path / "tuning.png")
    assert "How it was chosen" not in as_markdown(tuning)


def test_settings_that_the_pair_does_not_support_are_left_out(
    answering: Answering, pair: Nudger, tmp_path: Path
) -> None:
    def answers(method: str, settings: Mapping[str, Any], question: str) -> AnswerRecord:
        if settings.get("rule") == "bet":
            raise UnsupportedModelError("the server has no such probabilities")
        return RIGHT

    answering.answers = answers
    tuning = run(pair, tmp_path)
    assert tuning.setting.rule == "words"
    assert len(tuning.left_out) == 2
    assert "bet, bet=0.2 was left out: the server has no such probabilities" in cautions(tuning)
    with pytest.raises(UnsupportedModelError, match="none of the settings can be used: the server has no such"):
        run(pair, tmp_path / "other", [BEST, replace(BEST, end=0.0)])


def test_a_question_that_cannot_be_asked_counts_as_wrong(answering: Answering, pair: Nudger, tmp_path: Path) -> None:
    def answers(method: str, settings: Mapping[str, Any], question: str) -> AnswerRecord:
        if question == split(QUESTIONS)[1][0].messages[0]["content"]:
            raise PromptError("the prompt is longer than the context")
        return RIGHT

    answering.answers = answers
    tuning = run(pair, tmp_path)
    assert tuning.best.score.mean == 19 / 20
    assert (
        "1 of the held questions could not be asked (see `problem` in answers.jsonl). They count as wrong."
        in cautions(tuning)
    )


def test_too_few_questions_and_a_wrong_at_once_raise(pair: Nudger, tmp_path: Path) -> None:
    log = AnswerLog(tmp_path / "answers.jsonl")
    with pytest.raises(DataError, match="there is 1 question: half of the questions choose"):
        tune([pair], QUESTIONS[:1], SETTINGS, log)
    with pytest.raises(SettingsError, match="at_once=0"):
        tune([pair], QUESTIONS, SETTINGS, log, at_once=0)


# the log


def test_no_answer_is_generated_twice(answering: Answering, pair: Nudger, tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    tuning = run(pair, tmp_path, answered=lambda label, total: seen.append((label, total)))
    assert len(answering.calls) == len(set(answering.calls)) == answer_count(len(SETTINGS), 20) + 4 * 20
    assert len(seen) == len(answering.calls) == seen[-1][1]
    assert seen[0][0] == "choosing, round 1 of 3: 10 settings, 8 questions"
    assert seen[-1][0] == "testing on 20 held questions"
    again = run(pair, tmp_path)
    assert len(answering.calls) == len(seen)
    assert again == tuning


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("boom")])
def test_a_run_interrupted_twice_ends_as_an_uninterrupted_one(
    at_once: int, error: BaseException, answering: Answering, pair: Nudger, tmp_path: Path
) -> None:
    whole = run(pair, tmp_path / "whole")
    count = len(answering.calls)
    answering.calls.clear()
    answering.error = error
    for stop_after in (20, 130):
        answering.stop_after = stop_after
        with pytest.raises(type(error)):
            run(pair, tmp_path / "parts", at_once=at_once)
        with (tmp_path / "parts" / "answers.jsonl").open("ab") as file:
            file.write(b'{"key": "half a li')
    answering.stop_after = None
    assert untimed(run(pair, tmp_path / "parts", at_once=at_once)) == untimed(whole)
    lines = (tmp_path / "parts" / "answers.jsonl").read_text().splitlines()
    assert len(lines) == len({json.loads(line)["key"] for line in lines}) == count
    # an answer that another thread had just completed when the run was interrupted may be lost
    assert count <= len(answering.calls) <= count + 2 * (at_once - 1)


def test_more_settings_and_another_threshold_reuse_answers(answering: Answering, pair: Nudger, tmp_path: Path) -> None:
    run(pair, tmp_path, SETTINGS[:4])
    before = len(answering.calls)
    run(pair, tmp_path, SETTINGS[:5])
    assert len(answering.calls) == len(set(answering.calls)) > before


def test_answers_of_one_model_alone_depend_on_no_rule(pair: Nudger) -> None:
    changed = Nudger(pair.base_model, pair.nudging_model, rule="bet", bet=0.3, end=0.5, threshold=0.2)
    for name in ("base", "nudging"):
        assert make_method(name, pair).identity == make_method(name, changed).identity
    assert make_method("nudged", pair).identity != make_method("nudged", changed).identity
    settings = {"rule": "bet", "bet": 0.1, "end": 0.5}
    assert make_method("nudged", pair, settings=settings).identity.items() >= settings.items()


def test_scripted_models_are_tuned(tmp_path: Path) -> None:
    """The whole path, with real rules: a base model that rambles, and a nudging model that ends."""
    base = ScriptedModel("I am right and more and more", name="base")
    tuning = run(Nudger(base, ScriptedModel("I am right", name="nudging")), tmp_path, [PAPER, BEST])
    assert set(tuning.held) >= {System(0, "base"), System(0, "nudging")}
    assert tuning.held[System(0, "nudging")].score.mean == 1
    record = json.loads((tmp_path / "answers.jsonl").read_text().splitlines()[0])
    assert {"key", "id", "method", "nudging_model", "rule", "end", "seconds", "written"} <= set(record)


# the report


def result(useful: int, wrong: int = 0, **changes: Any) -> Result:
    right = TunedAnswer(replace(RIGHT, **changes), True, 2.0)
    return Result((right,) * useful + (TunedAnswer(WRONG, False, 2.0),) * wrong)


def tuned(best: Result, base: Result, nudging: Result, paper: Result | None = None) -> Tuning:
    chosen = System(0, "nudged", BEST)
    held = {chosen: best, System(0, "base"): base, System(0, "nudging"): nudging}
    if paper:
        held[System(0, "nudged", PAPER)] = paper
    return Tuning((("/models/big", "org/small"),), chosen, {chosen: best}, held, 25, {})


def test_the_advice_is_one_sentence_with_gain_and_cost() -> None:
    tuning = tuned(result(23, 2), result(0, 25), result(18, 7), result(21, 4))
    assert advice(tuning) == (
        "Use rule bet with bet=0.2 and end=0.5: 92% right and ended on 25 held questions (75-98), base alone 0%, "
        "nudging alone 72%, the paper's rule 84%. It nudges 9% of the tokens and writes 4.96 tokens/s."
    )
    assert cautions(tuning) == ["The gain over the paper's rule may be chance: its 95% interval includes 0."]


@pytest.mark.parametrize(
    ("tuning", "caution"),
    [
        (tuned(result(5, 1), result(0, 6), result(0, 6)), "Only 6 held questions tested this, and 25 chose it."),
        (tuned(result(1), result(0, 1), result(0, 1)), "Only 1 held question tested this"),
        (
            tuned(result(20, 5), result(20, 5), result(0, 25)),
            "On the held questions the base model alone (80%) does as well or better: nudging",
        ),
        (
            tuned(result(20, 5), result(0, 25), result(25)),
            "On the held questions the nudging model alone (100%) does as well or better",
        ),
        (
            tuned(result(20, 5), result(0, 25), result(0, 25), result(21, 4)),
            "On the held questions the paper's rule does as well or better (84%): the choice may be chance.",
        ),
        (tuned(result(0, 25), result(0, 25), result(0, 25)), "No answer was both right and ended."),
        (
            tuned(result(25, nudge_ratio=0.3), result(0, 25), result(0, 25)),
            "The pair is nudged at 30% of its tokens. Pairs that are nudged at more than a fifth fail systematically",
        ),
        (
            tuned(result(13, 12), result(12, 13), result(12, 13), result(12, 13)),
            "The gain over base alone, nudging alone and the paper's rule may be chance",
        ),
    ],
)
def test_cautions(tuning: Tuning, caution: str) -> None:
    assert any(one.startswith(caution) for one in cautions(tuning)), cautions(tuning)


def test_the_report_has_the_advice_and_both_tables(tmp_path: Path) -> None:
    tuning = tuned(result(23, 2), result(0, 25), result(18, 7), result(21, 4))
    report = as_markdown(tuning, ["Questions: mine.jsonl."])
    assert report.startswith("# Tuning\n\n**Use rule bet with bet=0.2 and end=0.5: 92% right and ended")
    assert "big, nudged by org/small; nudging " in report
    assert "Questions: mine.jsonl." in report
    assert (
        "| **bet, bet=0.2, end=0.5** | 92% (75-98) | 100% (87-100) | 92% (75-98) |  | 10 | 9% | 2.00 | 5.0 |" in report
    )
    assert "| base alone | 0% (0-13) | 100% (87-100) | 0% (0-13) | +92 points (" in report
    assert "| words, threshold=0.4 (the paper's) |" in report
    assert "## How it was chosen, on the other 25" in report
    draw_tuning(tuning, tmp_path / "tuning.png")
    assert (tmp_path / "tuning.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("gained", "lost", "both", "interval"),
    [(0, 0, 25, (0.0, -0.073, 0.073)), (25, 0, 0, (1.0, 0.80, 1.0)), (6, 1, 18, (0.2, -0.006, 0.376))],
)
def test_the_interval_of_a_paired_difference(
    gained: int, lost: int, both: int, interval: tuple[float, float, float]
) -> None:
    first = [True] * gained + [False] * lost + [True] * both
    second = [False] * gained + [True] * lost + [True] * both
    assert paired_interval(first, second) == pytest.approx(interval, abs=0.005)
    assert Interval(*paired_interval(second, first)).mean == -interval[0]


# tasks


def test_the_questions_of_a_task_have_the_prompts_and_the_score_of_an_evaluation(tmp_path: Path) -> None:
    from nudging.evaluation.plan import Plan
    from nudging.evaluation.run import evaluate
    from nudging.evaluation.tune_tasks import task_questions

    (tmp_path / "gsm8k.jsonl").write_text('{"id": "a", "question": "What are 70 and 2?", "answer": "72"}\n' * 2)
    (tmp_path / "justeval_safe.jsonl").write_text('{"question": "How do I pick a lock?"}')
    asked: dict[str, Any] = {}

    class Recording(ScriptedModel):
        def session(self, prompt: str, **options: Any) -> Any:
            asked.setdefault(prompt, None)
            return super().session(prompt, **options)

    pair = Nudger(ScriptedModel("so"), Recording("so"))
    evaluate(pair, Plan.checked(methods=["nudging"], data=tmp_path), tmp_path / "out")
    questions = task_questions(None, tmp_path)
    assert [pair.prompts(question.messages).nudging for question in questions] == list(asked)
    assert [one.id for one in questions] == ["a", "justeval_safe-1"]
    number, refusal = (question.is_right for question in questions)
    assert number(replace(RIGHT, written=(("base", "It is 72."),)))
    assert not number(replace(RIGHT, written=(("base", "It is 7."),)))
    assert refusal(replace(RIGHT, written=(("base", "I'm sorry, I cannot."),)))
    assert len(task_questions(["gsm8k"], tmp_path, limit=1)) == 1


# the command


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps({"question": f"What is {n}?", "answer": n}) + "\n" for n in range(30)))
    return path


@pytest.fixture(autouse=True)
def unchanged_log_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the command from changing the log level of transformers for other tests."""
    for module in ("console", "tune"):
        monkeypatch.setattr(f"nudging.cli.{module}.silence_transformers", lambda: None)


def command(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["tune", *map(str, arguments)])


def test_the_command_writes_a_config_that_a_nudger_reads(
    file: Path, tiny_base: Path, tiny_nudging: Path, tmp_path: Path
) -> None:
    models = ("--base-model", tiny_base, "--nudging-model", tiny_nudging, "--max-tokens", 6)
    where = ("--out", tmp_path / "out", "--limit", 6, "--rules", "words", "--thresholds", "0.3,0.5")
    result = command(file, *models, *where)
    assert result.exit_code == 0, result.output
    assert "## On the 3 held questions" in result.stdout
    assert "Only 3 held questions tested this" in result.stdout
    assert re.search(r"Use rule words with threshold=0\.[35].* In .*/tuned\.json\.$", result.stdout.strip())
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {"answers.jsonl", "tuned.json", "tuning.md", "tuning.png"}
    nudger = Nudger.from_config(out / "tuned.json")
    assert nudger.model_names == (str(tiny_base), str(tiny_nudging))
    assert nudger.settings.max_tokens == 6
    threshold = re.search(r"threshold=(0\.[35])", result.stdout)
    assert threshold is not None
    assert nudger.settings.threshold == float(threshold[1])
    again = command(file, *models, *where)
    assert again.stdout == result.stdout


def test_several_nudging_models_are_compared(file: Path, tiny_base: Path, tiny_nudging: Path, tmp_path: Path) -> None:
    from tiny import tiny_llama

    other = tiny_llama(tmp_path / "other", seed=1)
    models = ("--base-model", tiny_base, "--nudging-models", f"{tiny_nudging},{other}", "--max-tokens", 4)
    where = ("--out", tmp_path / "out", "--limit", 4, "--rules", "words", "--thresholds", "0.3", "--ends", "0")
    result = command(file, *models, *where, "--at-once", 2)
    assert result.exit_code == 0, result.output
    assert f"{tiny_nudging.name}: words, threshold=0.3" in result.stdout
    assert "other: words, threshold=0.3" in result.stdout
    chosen = Nudger.from_config(tmp_path / "out" / "tuned.json").model_names[1]
    assert Path(chosen) in (tiny_nudging, other)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        ([], 2, "give either a file of questions or --tasks"),
        (["FILE", "--tasks", "gsm8k"], 2, "give either a file of questions or --tasks"),
        (["nowhere.jsonl"], 1, "there is no file nowhere.jsonl"),
        (["FILE", "--limit", "1"], 1, "there is 1 question"),
        (["FILE", "--rules", "word"], 2, "there is no rule 'word': did you mean 'words'"),
        (["FILE", "--thresholds", "low"], 2, "--thresholds 'low': give numbers"),
        (["FILE", "--ends", "2"], 2, "end=2.0"),
        (["FILE", "--score", "same"], 2, "there is no score 'same'"),
        (["FILE", "--score", "yes_no"], 1, "line 1: the field 'answer' is '0', which can never be right"),
        (["FILE", "--nudging-models", ","], 2, "names no model"),
        (["FILE", "--out", "/dev/null"], 1, "cannot write /dev/null/answers.jsonl"),
        (["--tasks", "gsmk8"], 2, "there is no task 'gsmk8': did you mean 'gsm8k'"),
    ],
)
def test_bad_options_are_reported_before_a_model_is_loaded(
    arguments: list[str], exit_code: int, message: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nudging.nudger.shared_model", lambda *_, **__: pytest.fail("a model is loaded"))
    given = [str(file) if one == "FILE" else one for one in arguments]
    models = ["--base-model", "a/b", "--nudging-model", "c/d"]
    result = command(*(() if "--out" in given else ("--out", tmp_path / "out")), *models, *given)
    assert message in re.sub(r"\s+", " ", result.stderr)
    assert result.exit_code == exit_code
    assert "Traceback" not in result.output


@pytest.mark.standard
def test_a_command_stopped_by_ctrl_c_and_by_a_kill_continues(
    file: Path, tiny_base: Path, tiny_nudging: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answers = out / "answers.jsonl"
    whole = [sys.executable, "-m", "nudging", "tune", str(file), "--out", str(out), "--max-tokens", "12"]
    whole += ["--base-model", str(tiny_base), "--nudging-model", str(tiny_nudging)]
    whole += ["--rules", "words", "--thresholds", "0.4", "--limit", "20"]
    kept: list[list[str]] = [[]]
    for stop, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        process = subprocess.Popen(whole, stderr=subprocess.PIPE, text=True, env=os.environ)  # noqa: S603
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and not (
            answers.is_file() and answers.read_bytes().count(b"\n") > len(kept[-1])
        ):
            time.sleep(0.01)
        process.send_signal(stop)
        _, said = process.communicate(timeout=60)
        assert process.returncode == code
        if stop == signal.SIGINT:
            assert "interrupted: run the same command again to continue in" in re.sub(r"\s+", " ", said)
        assert "Traceback" not in said
        kept.append(answers.read_text().split("\n")[:-1])
        assert kept[-1][: len(kept[-2])] == kept[-2]
        assert len(kept[-1]) > len(kept[-2])
        assert not (out / "tuned.json").exists()
    done = subprocess.run(whole, capture_output=True, text=True, timeout=250)  # noqa: S603
    assert done.returncode == 0, done.stderr
    lines = answers.read_text().splitlines()
    assert lines[: len(kept[-1])] == kept[-1]
    assert len(lines) == len({json.loads(line)["key"] for line in lines})
    assert (out / "tuned.json").is_file()
