"""The terminal: consoles, progress bars, errors and exit codes."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from nudging.errors import NudgingError, SettingsError
from nudging.nudger import Nudger

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
"""Exit codes."""

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False)


@contextmanager
def reported_errors(hint: str = "") -> Iterator[None]:
    """Print an error in one line and exit with its code.

    Args:
        hint: Advice that is printed after an interruption.
    """
    try:
        yield
    except NudgingError as error:
        print_error(error)
        raise typer.Exit(WRONG_USAGE if isinstance(error, SettingsError) else FAILED) from None
    except KeyboardInterrupt:
        err.print("\ninterrupted" + (f": {hint}" if hint else ""), markup=False)
        raise typer.Exit(INTERRUPTED) from None


def print_error(error: NudgingError) -> None:
    """Print an error in one line on stderr."""
    err.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)


@contextmanager
def answers_progress(label: str, total: int | None = None) -> Iterator[Callable[[str, int], None]]:
    """Show a progress bar, and yield a function that advances it by one answer.

    Args:
        label: Text beside the bar before the first answer. Each call replaces it, as it does the total.
        total: Number of answers in all, if it is known already.
    """
    with _progress(MofNCompleteColumn()) as bar:
        task = bar.add_task(label, total=total)

        def advance(label: str, total: int) -> None:
            bar.update(task, description=label, total=total, advance=1)

        yield advance


@contextmanager
def conversion_progress(stages: int) -> Iterator[Callable[[str], None]]:
    """Yield a function that announces the next stage of a conversion. The first stage makes the bar visible."""
    with _progress() as bar:
        task = bar.add_task("", total=stages, visible=False)

        def begin(stage: str) -> None:
            if "transformers" in sys.modules:
                silence_transformers()
            is_first = not bar.tasks[task].description
            bar.update(task, description=f"preparing {stage} (once)", visible=True, advance=0 if is_first else 1)

        yield begin


def loading(nudger: Nudger) -> AbstractContextManager[Any]:
    """Return a spinner for loading models from this machine. Downloads from the hub show their own progress bars."""
    paths = [Path(name) for name in nudger.model_names]
    if not all(path.exists() for path in paths):
        return nullcontext()
    if any(path.is_dir() for path in paths):
        silence_transformers()
    return err.status("loading the models")


def silence_transformers() -> None:
    """Turn off transformers' progress bars and warnings, which would break into ours."""
    with suppress(ImportError):  # reported when a model is loaded
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def _progress(*columns: MofNCompleteColumn) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TimeElapsedColumn(),
        console=err,
        transient=True,
    )
