"""`nudging tune`: the setting that suits a pair and its questions."""

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from nudging._extras import required_packages
from nudging.answer import Author
from nudging.cli.console import answers_progress, err, loading, out, reported_errors, silence_transformers
from nudging.cli.lists import names, numbers
from nudging.cli.nudger import make_nudger
from nudging.cli.options import SYSTEM, NudgerOptions, System, nudger_options
from nudging.config import NudgerConfig
from nudging.errors import SettingsError
from nudging.nudger import Nudger
from nudging.settings import checked

if TYPE_CHECKING:
    from nudging.evaluation.tune import Tuning
    from nudging.evaluation.tune_data import Question

File = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", help='JSONL file: a "question" and its "answer" per line', show_default=False),
]
Tasks = Annotated[str | None, typer.Option(help="Instead of a file: tasks of nudging eval, separated by commas")]
Data = Annotated[
    Path | None,
    typer.Option(help="For --tasks: folder with a file <task>.jsonl per task", show_default="the hub's data sets"),
]
Score = Annotated[
    str, typer.Option(help="For a file: when an answer is right: contains, exact, number, choice or yes_no")
]
Rules = Annotated[str, typer.Option(help="Rules to compare, separated by commas: words, tokens, bet, blend")]
Thresholds = Annotated[str, typer.Option(help="Thresholds to compare, for the rules words, tokens and blend")]
Bets = Annotated[str, typer.Option(help="Bets to compare, for the rule bet")]
Ends = Annotated[str, typer.Option(help="Probabilities of a sure end to compare; 0 is none")]
NudgingModels = Annotated[
    str | None,
    typer.Option(help="Nudging models to compare, separated by commas", show_default="the one of --nudging-model"),
]
Limit = Annotated[int | None, typer.Option(help="Maximum number of questions, per task; default all", min=1)]
Folder = Annotated[Path, typer.Option("--out", help="Folder for the results")]
AtOnce = Annotated[int, typer.Option(help="Maximum number of answers generated at the same time", min=1)]


@nudger_options(settings=("lookahead", "max_tokens"))
def tune(
    options: NudgerOptions,
    file: File = None,
    tasks: Tasks = None,
    data: Data = None,
    score: Score = "contains",
    rules: Rules = "words,tokens,bet",
    thresholds: Thresholds = "0.3,0.4,0.5",
    bets: Bets = "0.1,0.2,0.3",
    ends: Ends = "0,0.3,0.5",
    nudging_models: NudgingModels = None,
    system: System = SYSTEM,
    limit: Limit = None,
    folder: Folder = Path("tuning"),
    at_once: AtOnce = 1,
) -> None:
    """Find the rule and its numbers that suit a pair. The same command continues an unfinished run."""
    with reported_errors(f"run the same command again to continue in {folder}"):
        from nudging.evaluation import tune as tuning
        from nudging.evaluation.answer_log import AnswerLog
        from nudging.evaluation.plots import require_matplotlib

        require_matplotlib()
        settings = tuning.combinations(
            names(rules), numbers("--thresholds", thresholds), numbers("--bets", bets), numbers("--ends", ends)
        )
        questions, conditions = _questions(file, tasks, data, score, system, limit)
        tuning.check_questions(questions)
        with closing(AnswerLog(folder / "answers.jsonl")) as answer_log:
            nudgers = _nudgers(options, nudging_models)
            silence_transformers()
            for nudger in nudgers:
                with loading(nudger):
                    nudger.load()
            with answers_progress("choosing") as answered:
                result = tuning.tune(nudgers, questions, settings, answer_log, at_once=at_once, answered=answered)
        conditions.append(
            f"Answers had at most {nudgers[0].settings.max_tokens} tokens, {at_once} at a time. Seconds are those of "
            "one answer, its prompt included."
        )
        _report(result, conditions, _config(options, nudgers[result.chosen.pair], nudging_models, result), folder)


def _questions(
    file: Path | None, tasks: str | None, data: Path | None, score: str, system: str, limit: int | None
) -> "tuple[Sequence[Question], list[str]]":
    """Return the questions, and lines for the report on where they are from."""
    if (file is None) == (tasks is None and data is None):
        raise SettingsError("give either a file of questions or --tasks (or --data): nudging tune questions.jsonl")
    if file is not None:
        from nudging.evaluation.tune_data import read_questions

        questions, repeated = read_questions(file, score, system)
        if repeated:
            err.print(f"{repeated} lines of {file} repeat an earlier one and are left out", style="dim", markup=False)
        return questions[:limit], [f"Questions: {file.name}, score: {score}."]
    os.environ.setdefault("TQDM_DISABLE", "1")  # our progress bar replaces those of datasets and lm_eval
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    with required_packages("nudging tune --tasks", extra="eval"), err.status("loading lm-evaluation-harness"):
        from nudging.evaluation.tune_tasks import task_questions

        found = task_questions(names(tasks) if tasks is not None else None, data, limit)
    return found, [f"Questions: {tasks or 'all tasks with data'}, scored as in nudging eval."]


def _nudgers(options: NudgerOptions, nudging_models: str | None) -> list[Nudger]:
    if nudging_models is None:
        return [make_nudger(options)]
    chosen = list(dict.fromkeys(names(nudging_models)))
    if not chosen:
        raise SettingsError(f"--nudging-models {nudging_models!r} names no model: separate the names by commas")
    return [make_nudger(NudgerOptions(options | {"nudging_model": name})) for name in chosen]


def _config(options: NudgerOptions, nudger: Nudger, nudging_models: str | None, tuning: "Tuning") -> NudgerConfig:
    """Return the configuration of the recommended setting. Models keep the names by which they were given."""
    values: dict[str, Any] = dict(options)
    for author, name in zip(get_args(Author), nudger.model_names, strict=True):
        values[f"{author}_model"] = options[f"{author}_model"] or name
    if nudging_models is not None:
        values["nudging_model"] = list(dict.fromkeys(names(nudging_models)))[tuning.chosen.pair]
    return checked(NudgerConfig, values | tuning.setting.options)


def _report(tuning: "Tuning", conditions: Sequence[str], config: NudgerConfig, folder: Path) -> None:
    """Write the report, the picture and the config file, and print the table and the advice."""
    from nudging.evaluation.output import output_errors, write_text
    from nudging.evaluation.tune_report import advice, as_markdown, cautions, draw_tuning

    report = as_markdown(tuning, conditions)
    write_text(folder / "tuning.md", report)
    config.write_config(folder / "tuned.json")
    with output_errors(folder / "tuning.png"):
        draw_tuning(tuning, folder / "tuning.png")
    out.print(report[report.index("## ") :], markup=False)
    for caution in cautions(tuning):
        out.print(caution, style="yellow", markup=False)
    out.print(f"{advice(tuning)} In {folder / 'tuned.json'}.", style="bold", markup=False)
