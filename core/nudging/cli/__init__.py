"""The `nudging` command: ask, chat, compare; serve, analyze, evaluate and tune a pair; examine an installation.

A command imports what it needs when it runs, so `nudging --help` loads no model library.
"""

from typing import Annotated

import typer

from nudging import __version__
from nudging.cli import analyze, ask, compare, doctor, evaluate, serve, tune

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nudging {__version__}")
        raise typer.Exit


@app.callback()
def _nudging(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit")
    ] = False,
) -> None:
    """Let a base language model answer as an assistant, nudged by a small aligned model."""


app.command()(ask.ask)
app.command()(ask.chat)
app.command()(compare.compare)
app.command()(serve.serve)
app.command()(analyze.analyze)
app.command("eval")(evaluate.evaluate)
app.command()(tune.tune)
app.command()(doctor.doctor)
