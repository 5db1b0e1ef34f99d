"""`nudging ask` and `nudging chat`: stream answers to the terminal in the colours of their authors."""

import json
import sys
import time
from typing import Annotated

import typer

from nudging.answer import Answer
from nudging.cli.console import err, loading, out, print_error, reported_errors
from nudging.cli.nudger import make_nudger
from nudging.cli.options import SYSTEM, NudgerOptions, System, nudger_options
from nudging.cli.question import Question, conversation, system_message
from nudging.display import as_rich
from nudging.errors import PromptError
from nudging.nudger import Nudger
from nudging.settings import SURE_END

Json = Annotated[bool, typer.Option("--json", help="Print each answer as one line of JSON instead of streaming it")]


@nudger_options(end=SURE_END)
def ask(
    question: Question,
    options: NudgerOptions,
    system: System = SYSTEM,
    as_json: Json = False,
) -> None:
    """Answer one question."""
    with reported_errors():
        nudger = make_nudger(options)
        _print_answer(nudger, conversation(question, system), as_json)


@nudger_options(end=SURE_END)
def chat(options: NudgerOptions, system: System = SYSTEM, as_json: Json = False) -> None:
    """Chat until an empty line or Ctrl-D. Ctrl-C stops an answer."""
    with reported_errors():
        nudger = make_nudger(options)
        messages = system_message(system)
        while question := _next_question():
            user = {"role": "user", "content": question}
            try:
                answer = _print_answer(nudger, [*messages, user], as_json)
            except KeyboardInterrupt:
                err.print("\nanswer stopped and discarded; enter an empty line to leave")
            except PromptError as error:
                if not sys.stdin.isatty():
                    raise
                print_error(error)
            else:
                messages += [user, {"role": "assistant", "content": answer.text}]


def _print_answer(nudger: Nudger, messages: list[dict[str, str]], as_json: bool) -> Answer:
    """Print the answer to a conversation as it is generated, and return it."""
    with loading(nudger):
        stream = nudger.stream(messages)  # checks the prompt before the weights are loaded
        nudger.load()
    started = time.monotonic()
    with stream, err.status("answering") as spinner:
        for piece in stream:
            if not as_json:
                spinner.stop()
                out.print(as_rich([(piece.author, piece.text)]), end="")
    answer = stream.answer
    if as_json:
        typer.echo(json.dumps(answer.to_dict(), ensure_ascii=False))
    else:
        speed = answer.usage.completion_tokens / (time.monotonic() - started)
        out.print()
        err.print(f"[dim]{answer.summary} · {speed:.1f} tokens/s[/dim]")
    return answer


def _next_question() -> str:
    err.print("\n[bold]>[/bold] ", end="")
    try:
        return input().strip()
    except EOFError:
        return ""
