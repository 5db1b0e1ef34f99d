"""Command-line options for all fields of `NudgerConfig`. A new field appears on every command.

`--config` reads fields from a file. Options that are given on the command line replace them.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from rich.markup import escape

from nudging.cli.console import reported_errors
from nudging.config import NudgerConfig, config_values
from nudging.settings import Settings


class NudgerOptions(dict[str, Any]):
    """The fields of `NudgerConfig` that are given, by name: on the command line, in the environment or in the file.

    Indexing a field that is not given returns its default, and None for a model, which stands for the demo model.
    """

    def __missing__(self, name: str) -> Any:
        field = NudgerConfig.model_fields[name]
        return None if field.is_required() else field.default


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help='JSON file with options, such as {"threshold": 0.3}; those given on the command line replace them',
    ),
]

System = Annotated[str, typer.Option(help="System message for both models; may be empty")]
SYSTEM = "You are a helpful assistant."

PANELS = ("Base model", "Nudging model", "Both models", "Settings")
"""Groups of options in the help, in this order."""


def nudger_options(
    settings: Collection[str] = tuple(Settings.model_fields), **defaults: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command `--config` and an option for each field of `NudgerConfig`, and pass it those given as `options`.

        @nudger_options()
        def ask(question: str, options: NudgerOptions) -> None: ...

    Args:
        settings: The settings that are options of the command. By default all. A file may have the others too.
        **defaults: Defaults of fields that differ for the command, by name.
    """
    fields = [name for name in NudgerConfig.model_fields if name in settings or name not in Settings.model_fields]
    options = [
        Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context),
        Parameter("config", Parameter.KEYWORD_ONLY, default=None, annotation=ConfigFile),
        *(_parameter(name, defaults) for name in sorted(fields, key=_panel_position)),
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [one for name, one in signature(command).parameters.items() if name != "options"]

        @wraps(command)
        def with_options(context: typer.Context, config: Path | None, **values: Any) -> None:
            with reported_errors():
                of_file = config_values(config) if config else {}
            of_command = {name: values.pop(name) for name in fields}
            given = {name: value for name, value in of_command.items() if _is_given(context, name)}
            command(**values, options=NudgerOptions(defaults | of_file | given))

        # typer reads both
        with_options.__signature__ = Signature([*own, *options])  # type: ignore[attr-defined]
        with_options.__annotations__ = {one.name: one.annotation for one in [*own, *options]}
        return with_options

    return decorate


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _parameter(name: str, defaults: Mapping[str, Any]) -> Parameter:
    """Return the parameter of a command from which typer builds the option of this field."""
    field = NudgerConfig.model_fields[name]
    parts = list(_parts(field.annotation))
    kind = _option_type(parts)
    is_secret = kind is SecretStr
    option = typer.Option(
        None if field.is_required() else defaults.get(name, field.default),
        help=escape(_description(field, parts)) + ("; may be given several times" if kind == list[str] else ""),
        rich_help_panel=PANELS[_panel_position(name)],
        show_default="the demo model" if field.is_required() else not is_secret,
        envvar=f"NUDGING_{name.upper()}" if is_secret else None,
        parser=SecretStr if is_secret else None,
        metavar="KEY" if is_secret else None,
    )
    return Parameter(name, Parameter.KEYWORD_ONLY, default=option, annotation=kind)


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield a type and all types and metadata in it: `int | None` gives `int | None`, `int` and `NoneType`."""
    yield annotation
    if get_origin(annotation) is dict:  # it cannot be written on a command line
        return
    for part in get_args(annotation):
        yield from _parts(part)


def _option_type(parts: list[Any]) -> Any:
    """Return the type by which typer parses a value. `NudgerConfig` checks the value later."""
    if any(get_origin(part) is tuple for part in parts):
        return list[str]
    return next((kind for kind in (bool, int, float, SecretStr) if kind in parts), str)


def _description(field: FieldInfo, parts: list[Any]) -> str:
    """Return the description of a field. In `Annotated[int, Field(...)] | None` it is inside the union."""
    inner = (part.description for part in parts if isinstance(part, FieldInfo))
    return field.description or next(inner, None) or ""


def _panel_position(name: str) -> int:
    if name in Settings.model_fields:
        return 3
    return 0 if name.startswith("base_") else 1 if name.startswith("nudging_") else 2
