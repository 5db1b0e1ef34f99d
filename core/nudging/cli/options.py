"""Command-line options for all fields of `NudgerConfig`. A new field appears on every command."""

from collections.abc import Callable, Collection, Iterator
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, TypeAlias, get_args, get_origin

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from rich.markup import escape

from nudging.config import NudgerConfig
from nudging.settings import Settings

NudgerOptions: TypeAlias = dict[str, Any]
"""Values of `NudgerConfig` fields by name, for all fields that are options of the command.

A model that is not given is None and stands for the demo model.
"""

System = Annotated[str, typer.Option(help="System message for both models; may be empty")]
SYSTEM = "You are a helpful assistant."

PANELS = ("Base model", "Nudging model", "Both models", "Settings")
"""Groups of options in the help, in this order."""


def nudger_options(
    settings: Collection[str] = tuple(Settings.model_fields),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of `NudgerConfig`, and pass it their values as `options`.

        @nudger_options()
        def ask(question: str, options: NudgerOptions) -> None: ...

    Args:
        settings: The settings that matter for the command. By default all.
    """
    fields = [name for name in NudgerConfig.model_fields if name in settings or name not in Settings.model_fields]
    options = [_parameter(name) for name in sorted(fields, key=_panel_position)]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [one for name, one in signature(command).parameters.items() if name != "options"]

        @wraps(command)
        def with_options(**values: Any) -> None:
            given = {name: values.pop(name) for name in fields}
            command(**values, options=given)

        # typer reads both
        with_options.__signature__ = Signature([*own, *options])  # type: ignore[attr-defined]
        with_options.__annotations__ = {one.name: one.annotation for one in [*own, *options]}
        return with_options

    return decorate


def _parameter(name: str) -> Parameter:
    """Return the parameter of a command from which typer builds the option of this field."""
    field = NudgerConfig.model_fields[name]
    parts = list(_parts(field.annotation))
    kind = _option_type(parts)
    is_secret = kind is SecretStr
    option = typer.Option(
        None if field.is_required() else field.default,
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
