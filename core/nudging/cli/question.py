"""The question and the system message of a command, as a conversation."""

from typing import Annotated

import typer

Question = Annotated[str, typer.Argument(help="The question; - reads it from standard input")]


def conversation(question: str, system: str) -> list[dict[str, str]]:
    """Return the messages of a question. `-` stands for the text on standard input."""
    text = typer.get_text_stream("stdin").read().strip() if question == "-" else question
    return [*system_message(system), {"role": "user", "content": text}]


def system_message(text: str) -> list[dict[str, str]]:
    """Return the system message with this text, or no message if it is empty."""
    return [{"role": "system", "content": text}] if text else []
