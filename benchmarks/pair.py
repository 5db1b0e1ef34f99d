"""The options of a benchmark that name its pair."""

import argparse

from nudging.models.demo import demo_pair


def add_pair(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a pair."""
    parser.add_argument("--base", help="base model; the demo pair if either model is left out")
    parser.add_argument("--nudging", help="nudging model")


def pair(arguments: argparse.Namespace) -> tuple[str, str]:
    """Return the names of the base and the nudging model, or the demo pair."""
    if arguments.base and arguments.nudging:
        return arguments.base, arguments.nudging
    base, nudging = demo_pair()
    return str(base), str(nudging)
