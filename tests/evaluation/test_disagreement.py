"""The analysis of disagreement: comparison, counts, the suggested threshold, and `nudging analyze` with any input."""

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from naive import NaiveModel
from nudging import Nudger, ScriptedModel, SettingsError, UnsupportedModelError
from nudging.cli import app, console
from nudging.evaluation.disagreement import (
    Analysis,
    AnswerComparison,
    Example,
    Position,
    compare_answers,
    compare_steps,
    read_examples,
)
from nudging.evaluation.disagreement_report import disagreement_tables, nudge_warning
from nudging.models.decoding.session import DecodingSession
from nudging.models.local.model import LocalModel
from nudging.step import Step
from rich.console import Console
from typer.testing import CliRunner

ANSWER = "the sky is blue and 🙂 so we go there"


def position(probability: float, agree: bool, at: int = 0) -> Position:
    return Position(at, " a", " b", probability, agree)


def analysis(*positions: Position, answer: str = "so") -> Analysis:
    return Analysis("base", "nudging", (AnswerComparison("why", answer, positions),))


# steps along a given text


@pytest.mark.parametrize("answer", [ANSWER, "", "x", "so " * 60])
def test_teacher_forced_steps_equal_a_pass_per_token(tiny_base: Path, tiny_nudging: Path, answer: str) -> None:
    """The naive model does a pass over the whole prefix for every token. The long answer is fed in several parts."""
    for folder, bos in ((tiny_base, True), (tiny_nudging, False)):
        session, naive = LocalModel(folder).session("why?\n", author="base"), NaiveModel(str(folder), bos)
        whole = naive.tokenizer.encode("why?\n" + answer, add_special_tokens=bos)
        start = len(naive.tokenizer.encode("why?\n", add_special_tokens=bos))
        expected = []
        for number in range(start, len(whole)):
            before = naive._decode(whole[:number])
            if before.endswith("\ufffd"):
                continue  # inside the emoji
            with torch.no_grad():
                probabilities = naive.weights(torch.tensor([whole[:number]])).logits[0, -1].softmax(-1)
            top = int(probabilities.argmax())
            after = naive._decode([*whole[:number], top])
            text = "" if after.endswith("\ufffd") else after[len(before) :]
            expected.append((len(before) - len("why?\n"), text, float(probabilities[top]), top in naive.ends))
        forced = session.teacher_forced(answer)
        assert [(at, step.text, step.end) for at, step in forced] == [(at, text, end) for at, text, _, end in expected]
        assert [step.probability for _, step in forced] == pytest.approx([one[2] for one in expected], abs=1e-5)


def test_an_answer_is_fed_in_one_pass(tiny_base: Path) -> None:
    session = LocalModel(tiny_base).session("why?\n", author="base")
    steps = session.teacher_forced(ANSWER)
    assert len(steps) > 15
    assert session.usage().forward_passes == 1


def test_a_model_agrees_with_its_own_answer(demo: Nudger) -> None:
    prompt = demo.prompts("Why is the sky blue?").nudging
    session = demo.nudging_model.session(prompt, author="nudging")
    assert isinstance(session, DecodingSession)
    answer = "".join(step.text for step in session.steps("", 30))
    steps = session.teacher_forced(answer)
    assert len(steps) > 20
    assert all(answer[at:].startswith(step.text) for at, step in steps)


# agreement


@pytest.mark.parametrize(
    ("base", "nudging", "agree"),
    [
        (" blue", " blue", True),
        (" bl", " blue", True),  # the aligned word begins with the base model's token
        (" blueish", " blue", False),  # the answer continues with other text
        (" blue sky", " blue", True),  # the answer continues with exactly this text
        (" blu", " bl", True),
        (" green", " blue", False),
        ("", " blue", False),  # the base model would end the answer
        (" red", " re", True),  # the answer continues otherwise: only this token of the aligned model is known
        (" re", " red", True),
        (" blue", " re", False),  # the answer is not what the aligned model would write, so it does not count
    ],
)
def test_models_agree_if_one_continuation_begins_with_the_other(base: str, nudging: str, agree: bool) -> None:
    positions = compare_steps("so blue sky", [(2, Step(base, 0.5, not base))], [(2, Step(nudging, 0.5))])
    assert [one.agree for one in positions] == [agree]


def test_only_positions_where_tokens_of_both_models_begin_are_compared() -> None:
    base = [(0, Step("so", 0.5)), (2, Step(" a", 0.5)), (5, Step("b", 0.5)), (7, Step("", 0.5))]
    nudging = [(0, Step("so", 0.5)), (3, Step("a", 0.5)), (5, Step("b", 0.5)), (7, Step("c", 0.5))]
    assert [one.at for one in compare_steps("so a b c", base, nudging)] == [0, 5]  # at 7: an unfinished character


# counts and the suggested threshold


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans())))
def test_every_position_is_in_the_bin_of_its_probability(drawn: list[tuple[float, bool]]) -> None:
    bins = analysis(*(position(*one) for one in drawn)).bins
    for index, one in enumerate(bins):
        within = [
            agree
            for probability, agree in drawn
            if one.low <= probability < one.high or (index == 9 and probability == 1)
        ]
        assert (one.positions, one.disagreements) == (len(within), within.count(False))
        assert one.interval[0] <= one.rate <= one.interval[1]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_the_suggested_threshold_misjudges_the_fewest_positions(drawn: list[tuple[float, bool]]) -> None:
    whole = analysis(*(position(*one) for one in drawn))
    suggested = whole.suggestion.value
    errors = {
        one.value: sum((probability < one.value) == agree for probability, agree in drawn) for one in whole.thresholds
    }
    assert errors[suggested] == min(errors.values())
    assert suggested == min(value for value, count in errors.items() if count == errors[suggested])


def test_a_separable_pair_gets_the_threshold_that_separates_it() -> None:
    whole = analysis(*(position(p / 100, agree=p >= 30) for p in range(100)))
    assert whole.suggestion.value == 0.3
    assert whole.suggestion.misjudged == 0
    assert whole.suggestion.caught == 1


def test_a_pair_that_never_disagrees_gets_threshold_0() -> None:
    assert analysis(position(0.1, True), position(0.9, True)).suggestion.value == 0


def test_the_expected_nudge_ratio_follows_the_rule() -> None:
    answer = "Sure it is so blue"
    sure, unsure = 0.9, 0.1
    positions = (
        position(sure, False, 0),  # "Sure": the nudging model begins, even if the base model is sure
        position(unsure, False, 4),  # " it": no handover
        position(unsure, True, 7),  # " is": a handover, as the models agree
        position(unsure, True, 10),  # " so": the base model is unsure, so the nudging model takes over
        position(sure, True, 13),  # " blue": a handover
    )
    assert analysis(*positions, answer=answer).threshold(0.4).nudge_ratio == pytest.approx(3 / 5)


def test_no_handover_inside_a_word() -> None:
    positions = (position(0.9, True, 0), position(0.9, True, 2), position(0.9, True, 4))
    assert analysis(*positions, answer="abcd ef").threshold(0.4).nudge_ratio == pytest.approx(2 / 3)


def test_nudging_words_are_the_whole_words_at_unsure_disagreements() -> None:
    positions = (position(0.1, False, 0), position(0.1, False, 2), position(0.9, False, 4), position(0.1, True, 7))
    counted = analysis(*positions, answer="Sure it\nis so").nudging_words(0.4)
    assert counted == {"Sure": 1}
    assert analysis(position(0.1, False, 7), answer="Sure it\nis so").nudging_words(0.4) == {"\nis": 1}


# whole answers


def test_the_nudging_model_writes_missing_answers(tiny: Nudger) -> None:
    own, given_one = compare_answers(tiny, [Example("why"), Example("why", "the sky is blue")], max_tokens=12)
    session = tiny.nudging_model.session(tiny.prompts("why").nudging, author="nudging")
    assert own.answer == "".join(step.text for step in session.steps("", 12))
    assert given_one.answer == "the sky is blue"


def test_a_model_never_disagrees_with_itself(tiny_nudging: Path) -> None:
    """Both get the same prompt."""
    twins = Nudger(tiny_nudging, tiny_nudging, base_template="<|user|>{{ messages[0].content }}\n<|assistant|>")
    (comparison,) = compare_answers(twins, [Example("why")], max_tokens=40)
    assert comparison.positions
    assert all(one.agree for one in comparison.positions)


def test_a_model_that_is_not_local_raises(tiny_nudging: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="base_model='scripted' is a ScriptedModel, and the analysis"):
        list(compare_answers(Nudger(ScriptedModel("so"), tiny_nudging), [Example("why")]))


def test_on_the_demo_pair_disagreement_falls_with_the_base_models_probability(demo: Nudger) -> None:
    """The finding of the paper, on the demo pair."""
    answer = "The capital of France is Paris. It is known for the Eiffel Tower, which was built in 1889."
    comparisons = tuple(compare_answers(demo, [Example("What is the capital of France?", answer)]))
    whole = Analysis("base", "nudging", comparisons)
    unsure = [one.agree for one in whole.positions if one.probability < 0.4]
    sure = [one.agree for one in whole.positions if one.probability > 0.8]
    assert unsure.count(False) / len(unsure) > 0.5
    assert sure.count(False) / len(sure) < 0.2


@pytest.mark.parametrize(("nudge_ratio", "warns"), [(0.0, False), (0.2, False), (0.21, True), (1.0, True)])
def test_a_warning_is_for_pairs_that_are_nudged_past_a_fifth(nudge_ratio: float, warns: bool) -> None:
    assert ("more than a fifth" in nudge_warning(nudge_ratio)) is warns


@pytest.mark.parametrize(("disagreements", "warns"), [(1, False), (5, True)])
def test_analyze_warns_of_a_pair_that_is_nudged_too_much(disagreements: int, warns: bool) -> None:
    """One word of ten, or five of ten, are the nudging model's at the suggested threshold."""
    unsure = [position(0.1, agree=False, at=2 * word) for word in range(disagreements)]
    sure = [position(0.9, agree=True, at=2 * word) for word in range(disagreements, 10)]
    made = analysis(*unsure, *sure, answer=" a" * 10)
    terminal = Console(file=io.StringIO(), width=300)
    terminal.print(disagreement_tables(made))
    assert made.suggestion.nudge_ratio == disagreements / 10
    assert (f"nudged at {disagreements}0% of its tokens" in terminal.file.getvalue()) is warns


# the command


@pytest.fixture(autouse=True)
def unchanged_log_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the command from changing the log level of transformers for other tests."""
    monkeypatch.setattr(console, "silence_transformers", lambda: None)


def run(*arguments: object) -> "object":
    return CliRunner().invoke(app, ["analyze", *map(str, arguments)])


def test_analyze_writes_numbers_and_a_picture(tiny_base: Path, tiny_nudging: Path, tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text('{"question": "why"}\n\n{"question": "how", "response": "so we go", "answer": "ignored"}\n')
    pair = ("--base-model", tiny_base, "--nudging-model", tiny_nudging)
    result = run(*pair, "--questions", file, "--out", tmp_path / "out", "--max-tokens", 20)
    assert result.exit_code == 0
    assert "suggested threshold" in result.stdout
    written = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert written["answers"] == 2
    assert written["positions"] == sum(one["positions"] for one in written["bins"])
    assert written["comparisons"][1]["answer"] == "so we go"
    assert (tmp_path / "out" / "analysis.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the questions"),
        ("", "has no questions"),
        ("\n \n", "has no questions"),
        ('{"question": "why"}\n{"question": ', ":2: Invalid JSON: EOF while parsing a value at line 1 column 13"),
        ('{"question": "why"}\n{"query": "why"}', ":2: 'question' is missing"),
        ('["why"]', ':1: Input should be an object; write {"question": "…"}'),
        ('{"question": 7}', ":1: 'question' is 7: Input should be a valid string"),
        ('{"question": " "}', ":1: 'question' is ' ': the text is empty"),
        ('{"question": "why", "response": ["so"]}', ":1: 'response' is ['so']: Input should be a valid string"),
        (b"\xff\xfe", "is not UTF-8 (at byte 0)"),
    ],
)
def test_errors_in_a_file_name_its_line_before_a_model_is_loaded(
    tmp_path: Path, content: str | bytes | None, message: str
) -> None:
    file = tmp_path / "questions.jsonl"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = run("--questions", file, "--base-model", "/nowhere", "--nudging-model", "/nowhere")
    assert result.exit_code == 2
    assert message in re.sub(r"\s+", " ", result.stderr)
    assert "Traceback" not in result.output


def test_a_folder_that_cannot_be_written_is_reported_before_a_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = run("--out", tmp_path / "file" / "out", "--base-model", "/nowhere", "--nudging-model", "/nowhere")
    assert result.exit_code == 2
    assert "cannot write to" in re.sub(r"\s+", " ", result.stderr)


def test_without_matplotlib_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run("--out", tmp_path, "--base-model", "/nowhere", "--nudging-model", "/nowhere")
    assert result.exit_code == 1
    assert "pip install 'nudging[plot]'" in re.sub(r"\s+", " ", result.stderr)


def test_an_error_keeps_the_answers_before_it(tiny_base: Path, tiny_nudging: Path, tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps({"question": "why"}) + "\n" + json.dumps({"question": "why " * 900}))
    pair = ("--base-model", tiny_base, "--nudging-model", tiny_nudging)
    result = run(*pair, "--questions", file, "--out", tmp_path, "--max-tokens", 8)
    assert result.exit_code == 1
    assert "a context of 512" in re.sub(r"\s+", " ", result.stderr)
    assert json.loads((tmp_path / "analysis.json").read_text())["answers"] == 1


def test_on_a_full_disk_the_numbers_are_printed(
    tiny_base: Path, tiny_nudging: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object, **options: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = tmp_path / "questions.jsonl"
    file.write_text('{"question": "why"}')
    monkeypatch.setattr(Path, "write_text", full)
    pair = ("--base-model", tiny_base, "--nudging-model", tiny_nudging)
    result = run(*pair, "--questions", file, "--out", tmp_path, "--max-tokens", 8)
    assert result.exit_code == 2
    assert "No space left on device" in re.sub(r"\s+", " ", result.stderr)
    assert "suggested threshold" in result.stdout


def test_ctrl_c_keeps_the_answers_before_it(tiny_base: Path, tiny_nudging: Path, tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps({"question": "why"}) + "\n" + (json.dumps({"question": "how"}) + "\n") * 5000)
    code = (
        "import nudging.evaluation.disagreement as a, pathlib\n"
        "of = a.compare_steps\n"
        f"a.compare_steps = lambda *given: (pathlib.Path({str(tmp_path / 'begun')!r}).touch(), of(*given))[1]\n"
        "from nudging.cli import app; app()"
    )
    pair = ("--base-model", tiny_base, "--nudging-model", tiny_nudging)
    command = [sys.executable, "-c", code, "analyze", *map(str, pair), "--questions", str(file)]
    process = subprocess.Popen(  # noqa: S603
        [*command, "--out", str(tmp_path), "--max-tokens", "4"], stderr=subprocess.PIPE, env=os.environ, text=True
    )
    deadline = time.monotonic() + 100
    while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert 0 < json.loads((tmp_path / "analysis.json").read_text())["answers"] < 5001


def test_a_limit_takes_the_first_questions(tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps({"question": f"why {number}"}) + "\n" for number in range(5)))
    assert [one.question for one in read_examples(file, 2)] == ["why 0", "why 1"]
    with pytest.raises(SettingsError):
        read_examples(tmp_path)
