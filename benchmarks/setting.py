"""Settings on the command line of a benchmark: `--setting words --setting bet,bet=0.2,end=0.5`."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from nudging.settings import Settings, SettingsOptions
from pydantic import ValidationError


@dataclass(frozen=True)
class Setting:
    """The settings of one row of a table.

    Args:
        options: The settings that were given, by name, the rule first. They are options of `Nudger` and of its calls.
    """

    options: SettingsOptions

    @classmethod
    def parsed(cls, text: str) -> "Setting":
        """Return the setting of a text such as "words", "bet,bet=0.2,end=0.5" or "threshold=0.3".

        Raises:
            argparse.ArgumentTypeError: A name is unknown, or a value is out of range.
        """
        parts = [part.strip() for part in text.split(",")]
        if "=" not in parts[0]:
            parts[0] = f"rule={parts[0]}"
        values: dict[str, str] = {}
        for part in parts:
            name, equals, value = (each.strip() for each in part.partition("="))
            if not equals or name in values:
                raise argparse.ArgumentTypeError(f"{text!r}: write a rule and then NAME=VALUE, each name once")
            values[name] = value
        return cls._checked(text, values)

    @classmethod
    def _checked(cls, text: str, values: dict[str, Any]) -> "Setting":
        if unknown := values.keys() - Settings.model_fields.keys():
            known = ", ".join(Settings.model_fields)
            raise argparse.ArgumentTypeError(
                f"{text!r}: there is no setting {', '.join(sorted(unknown))}: choose from {known}"
            )
        try:
            settings = Settings.model_validate(values)
        except ValidationError as error:
            problems = "; ".join(
                f"{problem['loc'][0]}={problem['input']}: {problem['msg']}" for problem in error.errors()
            )
            raise argparse.ArgumentTypeError(f"{text!r}: {problems}") from None
        return cls(cast("SettingsOptions", settings.model_dump(include={"rule", *values})))

    @property
    def label(self) -> str:
        """The settings as text, for tables: "bet, bet 0.2, end 0.5"."""
        values = dict(self.options)
        return ", ".join([str(values.pop("rule")), *(f"{name} {value}" for name, value in values.items())])

    def with_end(self, end: float) -> "Setting":
        """Return this setting with another value of `end`."""
        return Setting({**self.options, "end": end})

    def without_end(self) -> "Setting":
        """Return this setting without a value of `end`."""
        options = self.options.copy()
        options.pop("end", None)
        return Setting(options)


def add_settings(parser: argparse.ArgumentParser, default: Sequence[str] = ("words",)) -> None:
    """Add the option `--setting`. `settings` returns its values.

    Args:
        parser: The parser.
        default: The settings if the option is not given.
    """
    parser.add_argument(
        "--setting",
        dest="settings",
        action="append",
        type=Setting.parsed,
        metavar="RULE[,NAME=VALUE...]",
        help="settings of one row, such as bet,bet=0.2,end=0.5; repeat it for more rows; default: "
        + (" ".join(default) or "none"),
    )
    parser.set_defaults(default_settings=[Setting.parsed(text) for text in default])


def settings(arguments: argparse.Namespace) -> list[Setting]:
    """Return the settings that were given, or the default ones."""
    found: list[Setting] = arguments.settings or arguments.default_settings
    return found
