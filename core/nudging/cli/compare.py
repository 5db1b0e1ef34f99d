"""`nudging compare`: one question, answered by the base model alone, by the nudging model alone, and nudged."""

import json
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from nudging.cli.ask import Json
from nudging.cli.columns import Column, Writing, side_by_side, stacked
from nudging.cli.console import err, loading, out, reported_errors
from nudging.cli.nudger import make_nudger
from nudging.cli.options import SYSTEM, NudgerOptions, System, nudger_options
from nudging.cli.picture import check_picture, write_picture
from nudging.cli.question import Question, conversation
from nudging.evaluation.single_model import generate_alone, stream_alone
from nudging.nudger import Nudger
from nudging.settings import SURE_END

WIDE = 90
"""Width of a terminal, in characters, from which on the answers are side by side."""

PICTURE_WIDTH = 105
"""Width of the picture, in characters."""

MUCH_NUDGED = 0.2
"""Nudge ratio above which a pair tends to fail (arXiv 2606.11201)."""

NAMED = ("base_model", "base_url", "base_backend", "nudging_model", "nudging_url", "nudging_backend")
"""Options that name a pair, in the commands for the next step."""


@nudger_options(end=SURE_END, max_tokens=128)
def compare(
    question: Question,
    options: NudgerOptions,
    system: System = SYSTEM,
    as_json: Json = False,
    picture: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Also write the comparison to this file, as a picture")
    ] = None,
) -> None:
    """Show the answers of either model alone and of both together, side by side."""
    with reported_errors():
        if picture:
            check_picture(picture)
        nudger = make_nudger(options)
        messages = conversation(question, system)
        with loading(nudger):
            nudger.stream(messages).close()  # checks the prompt before the weights are loaded
            nudger.load()
        with err.status("reading the question"):  # once for all columns, so that none of them pays for it
            generate_alone(nudger, "base", messages, max_tokens=1)
            generate_alone(nudger, "nudging", messages, max_tokens=1)
        columns = _columns(nudger, messages)
        asked = Text.assemble(("Question: ", "bold"), messages[-1]["content"])
        if as_json:
            for column in columns:
                column.write()
            typer.echo(json.dumps({"question": messages[-1]["content"]} | _numbers(columns), ensure_ascii=False))
            return
        _show(asked, columns)
        if picture:
            write_picture(Group(asked, side_by_side(columns)), picture, PICTURE_WIDTH, title="nudging compare")
        out.print(f"Next: {_next_step(options, columns[-1])}", markup=False)


def _columns(nudger: Nudger, messages: Sequence[dict[str, str]]) -> list[Column]:
    base, nudging = (Path(name).name.removesuffix(".gguf") for name in nudger.model_names)
    return [
        Column("base", f"{base} alone", partial(stream_alone, nudger, "base", messages)),
        Column("nudging", f"{nudging} alone", partial(stream_alone, nudger, "nudging", messages)),
        Column("nudged", "nudged: both together", partial(_nudged, nudger, messages)),
    ]


def _nudged(nudger: Nudger, messages: Sequence[dict[str, str]]) -> Writing:
    with nudger.stream(messages) as stream:
        yield from stream
        return stream.answer


def _show(asked: Text, columns: Sequence[Column]) -> None:
    """Write the answers one after the other. After an error or an interruption the text so far stays on the screen."""
    arrange = side_by_side if out.is_terminal and out.width >= WIDE else stacked
    out.print(asked)
    try:
        with Live(get_renderable=lambda: arrange(columns), console=out, transient=True, refresh_per_second=8):
            for column in columns:
                column.write()
    finally:
        out.print(arrange(columns), soft_wrap=False)


def _numbers(columns: Sequence[Column]) -> dict[str, Any]:
    return {
        column.name: {**column.answer.to_dict(), "seconds": round(column.seconds, 3)}
        for column in columns
        if column.answer
    }


def _next_step(options: NudgerOptions, nudged: Column) -> str:
    """Return what the user would do next with this pair, as a command."""
    if not {"base_model", "nudging_model"} <= options.keys():
        return "your own pair, as hub ids, folders or files: nudging compare --base-model … --nudging-model … QUESTION"
    pair = " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(str(options[name]))}" for name in NAMED if name in options
    )
    answer = nudged.answer
    if answer and (answer.nudge_ratio > MUCH_NUDGED or answer.finish_reason != "stop"):
        return f"find the setting that suits this pair: nudging tune QUESTIONS.jsonl {pair}"
    return f"chat with this pair: nudging chat {pair}"
