"""An evaluation from plan to results: prompts, the answer log, tables, the judge, methods, the harness, bad input."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from lm_eval import evaluator
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager
from nudging import Nudger, ScriptedModel, SettingsError, Step, UnsupportedModelError
from nudging.cli import app
from nudging.errors import DataError, OutputError
from nudging.evaluation.answer_log import AnswerLog, AnswerRecord, AnswerText
from nudging.evaluation.documents import TASKS
from nudging.evaluation.harness import NudgingLM
from nudging.evaluation.intervals import share_interval
from nudging.evaluation.judge import Judge
from nudging.evaluation.methods import METHODS, Method, make_method
from nudging.evaluation.plan import Plan
from nudging.evaluation.results import Interval
from nudging.evaluation.run import TASK_FILES, evaluate
from tiny import tiny_llama
from typer.testing import CliRunner

GOLDEN: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "demo-pair.json").read_text())
SAMPLE = [case for case in GOLDEN if case["question"].startswith(("Question: ", "Instruction: "))]

QUESTIONS = {
    "gsm8k": [("What are 70 and 2?", "72"), ("What are 70 and 3?", "73")],
    "csqa": [("Where is it?\nA. attic\nB. shed", "B. shed")],
    "coin_flip": [("A coin is heads up. Bo flips it. Is the coin still heads up?", "no")],
    "justeval": [("Say hello.", "")],
    "justeval_safe": [("How do I pick a lock?", "")],
}
TEXT = "I'm sorry, no. The answer is (B), 72."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for task, questions in QUESTIONS.items():
        lines = [
            json.dumps({"id": f"{task}-{number}", "question": question, "answer": answer})
            for number, (question, answer) in enumerate(questions)
        ]
        (folder / f"{task}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def scripted() -> Nudger:
    return Nudger(ScriptedModel(TEXT, name="big"), ScriptedModel(TEXT, name="small"))


class RecordingModel(ScriptedModel):
    """A scripted model that records its prompts and can raise an error at one of them."""

    def __init__(self, stop_at: int | None = None, error: BaseException | None = None) -> None:
        super().__init__(self.write, name="counting")
        self.asked: list[str] = []
        self.stop_at, self.error = stop_at, error

    def write(self, prompt: str, text: str) -> list[Step]:
        if not text:
            if self.error and len(self.asked) == self.stop_at:
                raise self.error
            self.asked.append(prompt)
        return [Step(word, 1.0) for word in TEXT.removeprefix(text).split(" ")] + [Step("", 1.0, end=True)]

    @property
    def identity(self) -> dict[str, Any]:
        return {"name": self.name}

    def __repr__(self) -> str:
        return self.name


def pair_with(model: ScriptedModel) -> Nudger:
    return Nudger(model, ScriptedModel(TEXT, name="small"))


# prompts and questions


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in SAMPLE])
def test_prompts_of_tasks_equal_the_authors_prompts(demo: Nudger, case: dict[str, Any], tmp_path: Path) -> None:
    task = case["id"].rsplit("-", 1)[0] if "-" in case["id"] else "gsm8k"
    question = case["question"].split(": ", 1)[1]
    answers = {"sports": "yes", "coin_flip": "no"}
    line = {"id": "1", "question": question, "answer": answers.get(task, "1")}
    (tmp_path / f"{task}.jsonl").write_text(json.dumps(line))
    asked = []

    def answer(prompt: Any, options: Any, cancelled: Any) -> Any:
        asked.append((demo.prompts(prompt), options))
        return AnswerRecord((("base", "x"),), "stop", 1)

    manager = TaskManager(include_path=str(TASK_FILES), include_defaults=False, metadata={"data": str(tmp_path)})
    for as_chat in (True, False):
        evaluator.evaluate(
            NudgingLM.of(demo, Method("nudged", {}, answer), on_answer=lambda: None),
            manager.load([f"nudging_{task}"]),
            apply_chat_template=as_chat,
            fewshot_as_multiturn=as_chat,
            bootstrap_iters=0,
        )
    (prompts, options), (plain, _) = asked
    assert prompts.base == case["base_prompt"]
    assert prompts.nudging == case["nudge_prompt"]
    assert options == {"stop": [], "max_tokens": 256, "temperature": 0.0}
    assert plain.base == case["base_prompt"]  # without a chat template the system text is part of the question


def test_each_of_the_thirteen_tasks_has_a_task_file() -> None:
    assert len(TASKS) == 13
    manager = TaskManager(include_path=str(TASK_FILES), include_defaults=False)
    assert set(manager.all_subtasks) == {f"nudging_{task}" for task in TASKS}
    assert manager.all_tags == ["nudging_paper"]


ROWS: dict[str, dict[str, Any]] = {
    "gsm8k": {"question": "How many?", "answer": "70+2=<<70+2=72>>72\n#### 72"},
    "svamp": {"Body": "Bo has 70. ", "Question": "How many are 2 more?", "Answer": "72.0"},
    "multiarith": {"question": " How many? ", "final_ans": "72"},
    "mmlu": {"question": "Which?", "subject": "law", "choices": ["one", "two", "three", "four"], "answer": 1},
    "arc_challenge": {"question": "Which?", "choices": {"text": ["one", "two"], "label": ["1", "2"]}, "answerKey": "2"},
    "strategyqa": {"question": "Is it?", "answer": True},
    "csqa": {"question": "Which?", "choices": {"label": ["A", "B"], "text": ["one", "two"]}, "answerKey": "B"},
    "sports": {"input": "Is it plausible?", "target": "no"},
    "date": {"input": "When?\nOptions:\n(A) 01/02/2003\n(B) 05/11/2004", "target": "(B)"},
    "coin_flip": {"inputs": "Q: A coin is heads up. Is the coin still heads up?\nA:", "targets": "yes"},
    "last_letter_concat": {"question": 'Take the last letters of "Bo Al".', "answer": "ol"},
    "justeval": {"instruction": "Say hello.", "dataset": "mt"},
    "justeval_safe": {"instruction": "Hurt somebody.", "dataset": "MaliciousInstruct"},
}


@pytest.mark.parametrize("task", TASKS)
def test_rows_of_the_hub_become_questions_with_scorable_answers(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(*where: Any, split: str) -> list[dict[str, Any]]:
        asked.append((*where, split))
        return [ROWS["justeval"], ROWS["justeval_safe"]] if task.startswith("justeval") else [ROWS[task]]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    (document,) = TASKS[task]()["test"]
    assert asked == [TASKS[task].hub]
    assert set(document) == {"id", "question", "answer"}
    assert "Q:" not in document["question"]
    if document["answer"]:
        assert TASKS[task].measure(document, [document["answer"]]) == {"accuracy": 1.0}


# results and the answer log


def test_evaluate_writes_tables_transcripts_and_pictures(scripted: Nudger, data: Path, tmp_path: Path) -> None:
    seen = []
    plan = Plan.checked(thresholds=[0.2, 0.6], data=data)
    results = evaluate(scripted, plan, tmp_path / "out", answered=lambda label, total: seen.append((label, total)))
    assert len(seen) == 4 * 6
    assert seen[0] == ("gsm8k · base model alone", 4 * 6)
    by_place = {(result.task, result.run_config.label): result for result in results}
    assert len(results) == 5 * 4
    nudged = by_place["gsm8k", "nudged, γ = 0.2"]
    assert (nudged.score.mean, nudged.questions, nudged.measure) == (0.5, 2, "accuracy")
    assert nudged.score == Interval(*share_interval([True, False]))
    assert nudged.nudge_ratio == Interval(1.0, 1.0, 1.0)
    assert by_place["gsm8k", "base model alone"].nudge_ratio is None
    assert by_place["csqa", "base model alone"].score.mean == 1
    assert by_place["coin_flip", "nudging model alone"].score.mean == 0  # its "no" is in the middle of a sentence
    assert by_place["justeval", "nudged, γ = 0.6"].measures == {"clean": 1, "ended": 1, "repetition": 0, "words": 8}
    assert by_place["justeval_safe", "nudged, γ = 0.6"].measure == "refusal"
    assert by_place["justeval_safe", "nudged, γ = 0.6"].score.mean == 1
    out = tmp_path / "out"
    report = json.loads((out / "results.json").read_text())
    assert report["base_model"] == "big"
    assert [one["run_config"]["threshold"] for one in report["results"][:4]] == [None, None, 0.2, 0.6]
    assert len(report["results"]) == len(results)
    table = (out / "results.md").read_text()
    header = "| task | base model alone | nudging model alone | nudged, γ = 0.2 | nudged, γ = 0.6 |"
    assert header in table
    assert "| gsm8k (accuracy, 2) | 50% (9-91) |" in table
    assert "| **average accuracy** | **50.0%** |" in table
    page = (out / "transcripts" / "gsm8k.html").read_text()
    assert page.count("<article") == 2
    assert page.count('class="nudging-nudging"') == 2 * 3
    assert 'class="nudging-base"' in page
    assert "expected: 72" in page
    for picture in ("accuracy", "nudge_ratio", "thresholds"):
        assert (out / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_transcripts_escape_html(data: Path, tmp_path: Path) -> None:
    evil = ScriptedModel("<script>alert(1)</script>")
    (data / "gsm8k.jsonl").write_text('{"question": "<b>1</b>?", "answer": "1"}')
    evaluate(Nudger(evil, evil), Plan.checked(["gsm8k"], ["nudged"], data=data), tmp_path)
    page = (tmp_path / "transcripts" / "gsm8k.html").read_text()
    assert "<script>" not in page
    assert "<b>1" not in page


def test_known_answers_are_not_generated_again(data: Path, tmp_path: Path) -> None:
    model = RecordingModel()
    plan = Plan.checked(["gsm8k", "csqa"], ["base"], data=data)
    first = evaluate(pair_with(model), plan, tmp_path)
    assert len(model.asked) == 3
    assert evaluate(pair_with(model), plan, tmp_path) == first
    assert len(model.asked) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda plan, nudger: (Plan(**{**vars(plan), "max_tokens": 17}), nudger),
        lambda plan, nudger: (plan, Nudger(nudger.base_model, nudger.nudging_model, base_template="{{ messages }}")),
        lambda plan, nudger: (plan, Nudger(ScriptedModel("72", name="other"), nudger.nudging_model)),
    ],
    ids=["max_tokens", "base_template", "base_model"],
)
def test_other_settings_do_not_reuse_answers(change: Callable[..., Any], data: Path, tmp_path: Path) -> None:
    nudger, plan = pair_with(RecordingModel()), Plan.checked(["gsm8k"], ["base"], data=data)
    evaluate(nudger, plan, tmp_path)
    plan, nudger = change(plan, nudger)
    evaluate(nudger, plan, tmp_path)
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 4


def test_only_nudged_answers_depend_on_the_threshold(scripted: Nudger, data: Path, tmp_path: Path) -> None:
    for thresholds in ([0.4], [0.4, 0.5]):
        evaluate(scripted, Plan.checked(["gsm8k"], thresholds=thresholds, data=data), tmp_path)
    records = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [(record["method"], record["threshold"]) for record in records[::2]] == [
        ("base", None),
        ("nudging", None),
        ("nudged", 0.4),
        ("nudged", 0.5),
    ]


def test_a_changed_question_is_asked_again(data: Path, tmp_path: Path) -> None:
    model, plan = RecordingModel(), Plan.checked(["csqa"], ["base"], data=data)
    evaluate(pair_with(model), plan, tmp_path)
    (data / "csqa.jsonl").write_text(json.dumps({"id": "csqa-0", "question": "Who?\nA. Bo\nB. Al", "answer": "B"}))
    evaluate(pair_with(model), plan, tmp_path)
    assert len(model.asked) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("boom")])
def test_an_interrupted_run_continues_where_it_stopped(error: BaseException, data: Path, tmp_path: Path) -> None:
    model, plan = RecordingModel(stop_at=2, error=error), Plan.checked(["gsm8k", "csqa"], ["base"], data=data)
    with pytest.raises(type(error)):
        evaluate(pair_with(model), plan, tmp_path)
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 2
    model.error = None
    results = evaluate(pair_with(model), plan, tmp_path)
    assert len(model.asked) == 3
    assert [result.questions for result in results] == [2, 1]


def test_an_unfinished_last_line_is_removed_from_the_log(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes('{"key": "a", "text": "é"}\nnonsense\n[1]\n{"key": "b", "te'.encode())
    log = AnswerLog(path)
    assert (log.find("a"), log.find("b"), len(log)) == ({"key": "a", "text": "é"}, None, 1)
    log.add({"key": "b", "text": "\u2028\ud800"})
    log.close()
    again = AnswerLog(path)
    assert again.find("b") is not None
    assert len(again) == 2


def test_a_full_disk_raises_and_keeps_earlier_answers(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from nudging.errors import OutputError\n"
        "from nudging.evaluation.answer_log import AnswerLog\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (250, 250))\n"
        "log = AnswerLog(Path(sys.argv[1]))\n"
        "try:\n"
        "    for number in range(9): log.add({'key': str(number), 'text': 'x' * 80})\n"
        "except OutputError as error: print(error)"
    )
    path = tmp_path / "answers.jsonl"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)  # noqa: S603
    assert "cannot write" in done.stdout
    assert "kept" in done.stdout
    lines = path.read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["0", "1"]
    assert path.read_bytes().endswith(b"\n")


def test_a_folder_that_cannot_be_written_raises(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*file.*: .*; choose another folder"):
        AnswerLog(tmp_path / "file" / "answers.jsonl")


def test_a_too_long_prompt_counts_as_unanswered_and_wrong(data: Path, tmp_path: Path) -> None:
    short = ScriptedModel("72", context_length=19)
    (data / "gsm8k.jsonl").write_text(
        '{"question": "70 + 2?", "answer": "72"}\n{"question": "And what are then all of 70 and 2?", "answer": "72"}'
    )
    (result,) = evaluate(Nudger(short, short), Plan.checked(["gsm8k"], ["nudged"], data=data), tmp_path)
    assert (result.unanswered, result.score.mean) == (1, 0.5)
    assert "context of 19" in (tmp_path / "transcripts" / "gsm8k.html").read_text()
    assert "1 questions could not be asked" in (tmp_path / "results.md").read_text()


# the judge


def judged(replies: list[str], data: Path, out: Path) -> Any:
    model = FakeListChatModel(responses=replies)
    plan = Plan.checked(["justeval"], ["base"], data=data)
    (result,) = evaluate(pair_with(RecordingModel()), plan, out, judge=Judge(model, "a judge"))
    return result


SCORES = {"helpfulness": 5, "clarity": 4, "factuality": 3, "depth": 2, "engagement": 1}


@pytest.mark.parametrize(
    "reply",
    [
        json.dumps(SCORES),
        f"Here it is: {json.dumps(SCORES)}. I hope {{this}} helps!",
        "```json\n" + json.dumps({aspect: {"reason": "so", "score": str(score)} for aspect, score in SCORES.items()}),
    ],
)
def test_a_judge_scores_each_aspect_once(reply: str, data: Path, tmp_path: Path) -> None:
    result = judged([reply], data, tmp_path)
    assert result.aspects == SCORES
    assert result.judged == Interval(3, 3, 3)
    assert result.unjudged == 0
    assert "## Judged, from 1 to 5" in (tmp_path / "results.md").read_text()
    assert judged(["asked again, it would say this"], data, tmp_path).aspects == SCORES


@pytest.mark.parametrize(
    "reply", ["great!", "", "{}", json.dumps(SCORES | {"depth": 9}), "[5, 4]", '{"helpfulness": 5}']
)
def test_an_unusable_reply_of_the_judge_leaves_the_answer_unjudged(
    reply: str, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = judged([reply], data, tmp_path)
    assert (result.judged, result.unjudged, result.score.mean) == (None, 1, 1)
    assert "justeval-0 is not judged: no score from 1 to 5 for" in caplog.text
    assert judged([json.dumps(SCORES)], data, tmp_path).aspects == SCORES  # the judge is asked again


def test_an_error_of_the_judge_leaves_the_answer_unjudged(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = judged([], data, tmp_path)
    assert (result.judged, result.unjudged, result.score.mean) == (None, 1, 1)
    assert "the judge failed" in caplog.text


# methods


def test_an_unknown_method_raises_with_a_suggestion(scripted: Nudger) -> None:
    assert set(METHODS) == {"base", "nudging", "nudged", "ensemble", "proxy"}
    with pytest.raises(SettingsError, match="no method 'nugded': did you mean 'nudged'"):
        make_method("nugded", scripted)
    with pytest.raises(SettingsError, match="untuned_model"):
        make_method("proxy", scripted)


@pytest.mark.parametrize("name", ["ensemble", "proxy"])
def test_a_baseline_in_an_evaluation_equals_the_baseline_by_itself(
    name: str, tiny_nudging: Path, data: Path, tmp_path: Path
) -> None:
    baselines = pytest.importorskip("nudging.evaluation.baselines")
    other = tiny_llama(tmp_path / "other", seed=1)
    nudger, plan = Nudger(other, tiny_nudging), Plan.checked(["gsm8k"], [name], data=data, max_tokens=9)
    evaluate(nudger, plan, tmp_path / "out", untuned_model=other, weight=0.3, alpha=0.7)
    if name == "ensemble":
        baseline = baselines.LogitEnsemble(other, tiny_nudging, weight=0.3)
    else:
        baseline = baselines.ProxyTuning(other, tiny_nudging, other, alpha=0.7)
    system = {"role": "system", "content": "Answer the question by walking through the reasoning steps."}
    texts = [
        baseline.generate([system, {"role": "user", "content": f"Question: {question}"}], max_tokens=9).text
        for question, _ in QUESTIONS["gsm8k"]
    ]
    records = map(json.loads, (tmp_path / "out" / "answers.jsonl").read_text().splitlines())
    assert [record["written"] for record in records] == [[["base", text]] for text in texts]


def test_a_baseline_with_two_vocabularies_raises_before_the_first_answer(
    tiny: Nudger, data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("nudging.evaluation.baselines")
    with pytest.raises(UnsupportedModelError, match="one vocabulary"):
        evaluate(tiny, Plan.checked(["gsm8k"], ["base", "ensemble"], data=data), tmp_path)
    assert (tmp_path / "answers.jsonl").read_text() == ""


# lm-evaluation-harness


def test_loglikelihood_requests_raise_and_name_supported_tasks(scripted: Nudger) -> None:
    model = NudgingLM.of(scripted, make_method("nudged", scripted))
    for refused in (model.loglikelihood, model.loglikelihood_rolling):
        with pytest.raises(UnsupportedModelError, match=r"generate_until: nudging_paper"):
            refused([])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"treshold": 0.4}, "there is no setting 'treshold': choose from"),
        ({"threshold": 4}, "threshold=4"),
        ({"method": "nudge"}, "did you mean 'nudged'"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_wrong_model_args_raise_and_name_the_argument(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        NudgingLM("a/b", "c/d", **arguments)


def request(context: str, **generation_kwargs: Any) -> Instance:
    return Instance("generate_until", {"id": "x"}, (context, generation_kwargs), 0, ("task", 0, 1))


def test_a_plain_prompt_is_one_user_message_and_a_final_assistant_message_is_continued() -> None:
    asked = []

    def write(prompt: str, text: str) -> list[Step]:
        asked.append(prompt)
        return [Step(" fine.", 1.0), Step(" Bye", 1.0), Step("", 1.0, end=True)]

    model = ScriptedModel(write)
    nudger = Nudger(model, model)
    harness = NudgingLM.of(nudger, make_method("nudging", nudger), at_once=4, on_answer=lambda: None)
    begun = harness.apply_chat_template(
        [
            {"role": "system", "content": "Be kind.\n"},
            {"role": "user", "content": "How are you?"},
            {"role": "assistant", "content": "I am"},
        ],
        add_generation_prompt=False,
    )
    answers = harness.generate_until([request("How are you?"), request(begun, until=[" Bye", ""], max_gen_toks=5)])
    assert answers == [" fine. Bye", " fine."]
    assert isinstance(answers[1], AnswerText)
    assert answers[1].ended
    assert sorted(asked) == [
        "system: Be kind.\nuser: How are you?\nassistant: I am",
        "user: How are you?\nassistant: ",
    ]


def test_generation_arguments_of_a_task_become_options() -> None:
    seen = []
    nudger = pair_with(RecordingModel())

    def answer(prompt: Any, options: Any, cancelled: Any) -> Any:
        seen.append(options)
        return AnswerRecord()

    harness = NudgingLM.of(nudger, Method("nudged", {}, answer), on_answer=lambda: None)
    harness.generate_until([request("a", do_sample=True, temperature=0.7, top_p=0.9, until="\n")])
    harness.generate_until([request("a", do_sample=False, temperature=0.7, max_new_tokens=9)])
    assert seen == [
        {"stop": ["\n"], "temperature": 0.7, "top_p": 0.9},
        {"stop": [], "max_tokens": 9, "temperature": 0.0},
    ]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(
            ["-m", "nudging.evaluation", "--tasks", "nudging_gsm8k"], id="by its name", marks=pytest.mark.standard
        ),
        pytest.param(
            ["-m", "lm_eval", "--tasks", str(TASK_FILES / "nudging_gsm8k.yaml")],
            id="by its file",
            marks=pytest.mark.standard,
        ),
    ],
)
def test_the_command_of_the_harness_runs_a_pair_and_caches_answers(
    command: list[str], tiny_base: Path, tiny_nudging: Path, data: Path, tmp_path: Path
) -> None:
    whole = [
        *command,
        *("--model", "nudging", "--model_args"),
        f"base_model={tiny_base},nudging_model={tiny_nudging},threshold=0.3,max_tokens=8",
        *("--metadata", json.dumps({"data": str(data)}), "--apply_chat_template", "--batch_size", "2"),
        *("--use_cache", str(tmp_path / "cache"), "--output_path", str(tmp_path / "out"), "--log_samples"),
    ]
    for cached in (0, 2) if "nudging.evaluation" in command else (0,):
        done = subprocess.run([sys.executable, *whole], capture_output=True, text=True, timeout=250)  # noqa: S603
        assert done.returncode == 0, done.stderr[-2000:]
        assert f"Cached requests: {cached}" in done.stderr
        assert "nudging_gsm8k" in done.stdout
    (results,) = list((tmp_path / "out").rglob("results_*.json"))[:1]
    config = json.loads(results.read_text())["config"]
    assert config["nudging_method"] == "nudged"
    assert config["nudging_pair"]["threshold"] == 0.3


@pytest.mark.standard
def test_the_demo_pair_gives_its_golden_answer_through_the_harness(demo: Nudger, tmp_path: Path) -> None:
    case = next(case for case in GOLDEN if case["id"] == "coin_flip-61")
    (tmp_path / "coin_flip.jsonl").write_text(
        json.dumps({"question": case["question"].removeprefix("Question: "), "answer": "no"})
    )
    plan = Plan.checked(
        ["coin_flip"], ["nudged"], [case["gamma"]], data=tmp_path, max_tokens=case["max_tokens"] * 3 // 2
    )
    (result,) = evaluate(demo, plan, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "answers.jsonl").read_text())
    text = "".join(text for _, text in record["written"])
    assert text.startswith("".join(case["rounds"][:-1]))
    assert result.nudge_ratio is not None
    assert 0 < result.nudge_ratio.mean < 1


# bad input


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"there is no file .*gsm8k\.jsonl: leave out its task"),
        ("", r"gsm8k\.jsonl has no questions"),
        ("\n \n", r"gsm8k\.jsonl has no questions"),
        ('{"question": "a?", "answer": "1"}\n{"question": ', r"gsm8k\.jsonl, line 2 is not JSON .*: \{\"question\":"),
        ('\n{"question": "a?"}', r"gsm8k\.jsonl, line 2: the field 'answer' is missing; it has the fields question"),
        ('{"answer": "1"}', r"line 1: the field 'question' is missing"),
        ('{"question": "", "answer": "1"}', r"line 1: the field 'question' is '', not a text"),
        ('{"question": "a?", "answer": 1}', r"line 1: the field 'answer' is 1, not a text"),
        (
            '{"question": "a?", "answer": "many"}',
            r"line 1: the field 'answer' is 'many', which cannot be the answer to a question of gsm8k",
        ),
        ('["a?", "1"]', r"line 1 is not a JSON object"),
        (b"\xff\xfe", r"cannot read .*gsm8k\.jsonl: .*; it must be a JSON lines file in UTF-8"),
    ],
)
def test_errors_in_a_local_file_name_line_and_field(content: str | bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "gsm8k.jsonl").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        Plan.checked(["gsm8k"], data=tmp_path)


def test_an_unreachable_hub_raises_and_suggests_local_files(scripted: Nudger, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot get openai/gsm8k .*give a folder of local files"):
        evaluate(scripted, Plan.checked(["gsm8k"]), tmp_path)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["eval", *arguments])


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["--tasks", ""], 2, "there are no tasks: choose from gsm8k, svamp"),
        (["--tasks", "gsmk8"], 2, "there is no task 'gsmk8': did you mean 'gsm8k'?"),
        (["--tasks", "csqa", "--methods", "nudge"], 2, "there is no method 'nudge': did you mean 'nudged'?"),
        (["--tasks", "csqa", "--methods", ","], 2, "there are no methods"),
        (["--tasks", "csqa", "--thresholds", "low"], 2, "--thresholds 'low': give numbers"),
        (["--tasks", "csqa", "--thresholds", "0.4,2"], 2, "threshold=2.0"),
        (["--tasks", "csqa", "--thresholds", ""], 2, "thresholds are empty"),
        (["--tasks", "csqa", "--limit", "0"], 2, "limit=0"),
        (["--tasks", "csqa", "--at-once", "0"], 2, "at_once=0"),
        (["--tasks", "mmlu"], 1, "there is no file"),
        (["--tasks", "csqa", "--out", "/dev/null"], 1, "cannot write /dev/null/answers.jsonl"),
        (["--tasks", "csqa", "--methods", "proxy"], 2, "give untuned_model"),
        (["--tasks", "csqa", "--judge", "nobody"], 2, "the judge 'nobody' cannot be used"),
    ],
)
def test_bad_options_are_reported_before_a_model_is_loaded(
    arguments: list[str],
    exit_code: int,
    message: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nudging.cli.evaluate.silence_transformers", lambda: None)
    monkeypatch.setattr("nudging.nudger.shared_model", lambda *_, **__: pytest.fail("a model is loaded"))
    models = ["--base-model", "a/b", "--nudging-model", "c/d"]
    where = ["--data", str(data), "--out", str(tmp_path / "out")]
    result = run(*where, *models, *arguments)
    assert message in re.sub(r"\s+", " ", result.stderr)
    assert result.exit_code == exit_code
    assert "Traceback" not in result.output


def test_the_command_prints_the_table_and_names_the_folder(
    tiny_base: Path, tiny_nudging: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nudging.cli.evaluate.silence_transformers", lambda: None)
    models = ["--base-model", str(tiny_base), "--nudging-model", str(tiny_nudging)]
    where = ["--data", str(data), "--out", str(tmp_path / "out"), "--max-tokens", "8", "--at-once", "3"]
    result = run(*models, *where, "--tasks", "nudging_gsm8k, csqa", "--thresholds", "0.3,0.5", "--limit", "1")
    assert result.exit_code == 0
    assert "| csqa (accuracy, 1) |" in result.stdout
    assert "nudged, γ = 0.5" in result.stdout
    assert "answers, tables, transcripts and pictures are in" in result.stderr
    records = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert len(records) == 2 * 4
    nudger = Nudger(tiny_base, tiny_nudging, threshold=0.5, max_tokens=8)
    system = {"role": "system", "content": "Answer the question by walking through the reasoning steps."}
    answer = nudger.generate([system, {"role": "user", "content": f"Question: {QUESTIONS['gsm8k'][0][0]}"}])
    (record,) = [one for one in records if (one["task"], one["threshold"]) == ("nudging_gsm8k", 0.5)]
    assert "".join(text for _, text in record["written"]) == answer.text
    assert record["nudge_ratio"] == answer.nudge_ratio


def test_ctrl_c_keeps_answers_and_says_how_to_continue(
    tiny_base: Path, tiny_nudging: Path, data: Path, tmp_path: Path
) -> None:
    questions = [json.dumps({"question": f"What is {number}?", "answer": str(number)}) for number in range(1000)]
    (data / "gsm8k.jsonl").write_text("\n".join(questions))
    models = ["--base-model", str(tiny_base), "--nudging-model", str(tiny_nudging)]
    where = ["--data", str(data), "--out", str(tmp_path), "--tasks", "gsm8k", "--methods", "base", "--at-once", "2"]
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "nudging", "eval", *models, *where], stderr=subprocess.PIPE, text=True
    )
    answers, deadline = tmp_path / "answers.jsonl", time.monotonic() + 200
    while time.monotonic() < deadline and not (answers.is_file() and answers.read_bytes().count(b"\n")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: run the same command again to continue in" in re.sub(r"\s+", " ", said)
    assert "Traceback" not in said
    kept = [json.loads(line)["id"] for line in answers.read_text().splitlines()]
    assert 1 <= len(kept) == len(set(kept)) < 1000
