"""Which pair a benchmark is run on."""

import argparse

from nudging.models.demo import demo_pair


def add_pair(parser: argparse.ArgumentParser) -> None:
    """The options that name a pair."""
    parser.add_argument("--base", help="the demo pair's if left out")
    parser.add_argument("--nudging")


def pair(arguments: argparse.Namespace) -> tuple[str, str]:
    """The two names that were given, or the demo pair."""
    if arguments.base and arguments.nudging:
        return arguments.base, arguments.nudging
    base, nudging = demo_pair()
    return str(base), str(nudging)
