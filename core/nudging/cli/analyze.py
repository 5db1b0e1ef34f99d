"""`nudging analyze`: where the two models disagree, and which threshold follows."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated

import typer

from nudging.cli.console import answers_progress, err, loading, out, reported_errors
from nudging.cli.nudger import make_nudger
from nudging.cli.options import SYSTEM, NudgerOptions, System, nudger_options
from nudging.errors import SettingsError
from nudging.nudger import Nudger

if TYPE_CHECKING:
    from nudging.evaluation.disagreement import Analysis, AnswerComparison, Example


@nudger_options(settings=())
def analyze(
    options: NudgerOptions,
    questions: Annotated[
        Path | None,
        typer.Option(
            help='JSONL file: a "question" per line, and optionally its aligned "response"',
            show_default="twelve built-in questions",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Number of questions; default all", min=1)] = None,
    max_tokens: Annotated[
        int,
        typer.Option(
            help="Maximum length of an aligned answer, in nudging-model tokens", min=1, rich_help_panel="Settings"
        ),
    ] = 256,
    system: System = SYSTEM,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the results")] = Path("analysis"),
) -> None:
    """Show where the two models disagree, and suggest a threshold for the pair."""
    with reported_errors():
        from nudging.evaluation.disagreement import QUESTIONS, Example, read_examples
        from nudging.evaluation.plots import require_matplotlib

        examples = read_examples(questions) if questions else [Example(question) for question in QUESTIONS]
        _check_folder(folder)
        require_matplotlib()
        nudger = make_nudger(options)
        with loading(nudger):
            nudger.load()
        _compare(nudger, examples[:limit], system, max_tokens, folder)


def _compare(nudger: Nudger, examples: "Sequence[Example]", system: str, max_tokens: int, folder: Path) -> None:
    """Compare the models answer by answer. After an error or an interruption, report what was compared until then."""
    from nudging.evaluation.disagreement import Analysis, compare_answers

    label, total = "comparing the models", len(examples)
    comparisons: list[AnswerComparison] = []
    try:
        with answers_progress(label, total) as advance:
            for comparison in compare_answers(nudger, examples, instructions=system, max_tokens=max_tokens):
                comparisons.append(comparison)
                advance(label, total)
    finally:
        if comparisons:
            _report(Analysis(*nudger.model_names, tuple(comparisons)), folder)
            files = f"{folder}/analysis.json and {folder}/analysis.png"
            err.print(f"{len(comparisons)} of {total} answers, in {files}", markup=False)


def _report(analysis: "Analysis", folder: Path) -> None:
    from nudging.evaluation.disagreement_report import disagreement_tables, draw_disagreement

    out.print(disagreement_tables(analysis))
    with _writing(folder):
        numbers = json.dumps(analysis.to_dict(), ensure_ascii=False, indent=1)
        (folder / "analysis.json").write_text(numbers, encoding="utf-8")
        draw_disagreement(analysis, folder / "analysis.png")


def _check_folder(folder: Path) -> None:
    """Create the folder and write to it, so that a bad one fails before anything is computed."""
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"cannot write to {str(folder)!r}: {error.strerror}; give a folder that can be written to as --out"
        ) from error
