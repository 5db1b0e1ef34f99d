"""`nudging eval`: the paper's tasks on the pair and on either model alone."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from nudging._extras import required_packages
from nudging.cli.console import answers_progress, err, out, reported_errors, silence_transformers
from nudging.cli.lists import names, numbers
from nudging.cli.nudger import converted_model, make_nudger, settings_of
from nudging.cli.options import NudgerOptions, nudger_options

Tasks = Annotated[str | None, typer.Option(help="Tasks, separated by commas", show_default="all that have data")]
Methods = Annotated[
    str, typer.Option(help="Methods, separated by commas: base, nudging (each model alone), nudged, ensemble, proxy")
]
Thresholds = Annotated[
    str | None,
    typer.Option(
        help="Thresholds to compare, in [0, 1], separated by commas",
        rich_help_panel="Settings",
        show_default="the paper's for the base model's family, or 0.4",
    ),
]
Limit = Annotated[int | None, typer.Option(help="Maximum number of questions per task; default all")]
Data = Annotated[
    Path | None, typer.Option(help="Folder with a file <task>.jsonl per task", show_default="the hub's data sets")
]
Folder = Annotated[Path, typer.Option("--out", help="Folder for the results")]
AtOnce = Annotated[int, typer.Option(help="Maximum number of answers generated at the same time")]
JudgeName = Annotated[
    str | None, typer.Option(help="Chat model that judges justeval, by its LangChain name, such as openai:gpt-4o")
]
UntunedModel = Annotated[str | None, typer.Option(help="For proxy: the nudging model before its tuning")]
Weight = Annotated[float, typer.Option(help="For ensemble: weight of the nudging model, in [0, 1]")]
Alpha = Annotated[float, typer.Option(help="For proxy: factor of the tuning's effect; 1 in the paper")]


@nudger_options(settings=("rule", "bet", "end", "lookahead", "max_tokens"))
def evaluate(
    options: NudgerOptions,
    tasks: Tasks = None,
    methods: Methods = "base,nudging,nudged",
    thresholds: Thresholds = None,
    limit: Limit = None,
    data: Data = None,
    folder: Folder = Path("evaluation"),
    at_once: AtOnce = 1,
    judge: JudgeName = None,
    untuned_model: UntunedModel = None,
    weight: Weight = 0.5,
    alpha: Alpha = 1.0,
) -> None:
    """Evaluate the pair and each model alone on the paper's tasks. The same command continues an unfinished run."""
    with reported_errors(f"run the same command again to continue in {folder}"):
        run, judging = _evaluation()
        plan = run.Plan.checked(
            tasks.split(",") if tasks is not None else None,
            names(methods),
            [settings_of(options).threshold] if thresholds is None else numbers("--thresholds", thresholds),
            data=data,
            limit=limit,
            max_tokens=options["max_tokens"],
            at_once=at_once,
        )
        named_judge = judging.Judge.named(judge) if judge else None
        run.check_folder(folder)
        nudger = make_nudger(options)
        baselines = {
            "untuned_model": converted_model(untuned_model) if untuned_model else None,
            "weight": weight,
            "alpha": alpha,
        }
        silence_transformers()
        with answers_progress("loading") as answered:
            run.evaluate(nudger, plan, folder, judge=named_judge, answered=answered, **baselines)
        out.print((folder / "results.md").read_text(encoding="utf-8"), markup=False)
        err.print(f"answers, tables, transcripts and pictures are in {folder}", style="dim", markup=False)


def _evaluation() -> tuple[Any, Any]:
    """Return the modules `nudging.evaluation.run` and `nudging.evaluation.judge`.

    Raises:
        MissingDependencyError: A package of the extra `eval` is not installed.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")  # our progress bar replaces those of datasets and lm_eval
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    with required_packages("nudging eval", extra="eval"), err.status("loading lm-evaluation-harness"):
        from nudging.evaluation.plots import require_matplotlib

        require_matplotlib()  # before lm_eval, which takes seconds to import
        from nudging.evaluation import judge, run
    return run, judge
