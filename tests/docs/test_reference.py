"""The reference pages: everything public is on them, and everything on them has a description."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from pydoc import locate
from typing import Any, get_args

import griffe
import nudging
import pytest
from nudging.config import NudgerConfig
from nudging.settings import Settings
from pydantic.fields import FieldInfo

import langchain_nudging
import llamaindex_nudging

ROOT = Path(__file__).parents[2]
PACKAGES = nudging, langchain_nudging, llamaindex_nudging

ENTRY = re.compile(r"^::: (?P<name>\S+)(?P<options>(?:\n {4}.*)*)", re.MULTILINE)
"""An entry of a reference page, as mkdocstrings reads it."""

PYDANTIC = {"nudging.config.NudgerConfig": NudgerConfig, "nudging.Settings": Settings}
"""Classes whose fields are shown with the descriptions in their declarations (see `griffe_fieldz` in mkdocs.yml)."""


@cache
def sources() -> griffe.ModulesCollection:
    """The three packages, as mkdocstrings reads them."""
    loader = griffe.GriffeLoader(search_paths=[ROOT / "core", ROOT], docstring_parser="google")
    for package in PACKAGES:
        loader.load(package.__name__)
    loader.resolve_aliases(implicit=True)
    return loader.modules_collection


def entries() -> Iterator[tuple[str, str]]:
    """The name and the options of each entry of the reference pages."""
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        for entry in ENTRY.finditer(page.read_text()):
            yield entry["name"], entry["options"]


def members(whole: griffe.Object | griffe.Alias, options: str) -> dict[str, griffe.Object | griffe.Alias]:
    """The members that an entry shows, or would show if they were described."""
    shown = {name: member for name, member in whole.members.items() if member.is_public and not member.is_imported}
    if inherited := re.search(r"inherited_members: (?:\[(.*)\]|true)", options):
        names = inherited[1].split(", ") if inherited[1] else whole.inherited_members
        shown |= {name: whole.all_members[name] for name in names if not name.startswith("_")}
    return {name: member for name, member in shown.items() if name != "model_config" and not name.startswith("__")}


def documented_in(docstring: str) -> set[str]:
    """The names that a docstring describes: arguments and attributes, or the keys of a list."""
    return set(re.findall(r"^ *(?:- `|\*\*)?(\w+)`?(?: \(.*\))?: \S", docstring, re.MULTILINE))


def is_inherited(member: griffe.Object | griffe.Alias) -> bool:
    """Is the member described in a base class that has it too?"""
    bases = member.parent.mro() if member.parent is not None and member.parent.is_class else []
    return any(member.name in base.members and base.members[member.name].has_docstring for base in bases)


def description(annotation: Any, field: FieldInfo | None = None) -> str | None:
    """The description of a pydantic field, which may be inside of a union: `Annotated[int, Field(...)] | None`."""
    inner = (part.description for part in get_args(annotation) if isinstance(part, FieldInfo))
    nested = (description(part) for part in get_args(annotation))
    return (field and field.description) or next(inner, None) or next(filter(None, nested), None)


@pytest.mark.parametrize(("name", "options"), [pytest.param(*entry, id=entry[0]) for entry in entries()])
def test_every_entry_of_the_reference_is_described(name: str, options: str) -> None:
    whole = sources()[name]
    assert whole.docstring, f"{name} has no docstring"
    if not (whole.is_class or whole.is_module):
        return
    described = documented_in(whole.docstring.value)
    if model := PYDANTIC.get(name):
        fields = model.model_fields.items()
        described |= {one for one, field in fields if description(field.annotation, field)}
        assert set(model.model_fields) <= described
    missing = {
        one
        for one, member in members(whole, options).items()
        if not (member.has_docstring or one in described or is_inherited(member))
    }
    assert not missing, f"without a description in {name}: {', '.join(sorted(missing))}"


def test_every_public_name_is_in_the_reference() -> None:
    pages = {name for name, _ in entries()}
    public = {f"{package.__name__}.{name}" for package in PACKAGES for name in package.__all__}
    errors = {name for name in public if isinstance(kind := locate(name), type) and issubclass(kind, Exception)}
    assert "nudging.errors" in pages  # which shows all errors of this module
    assert public - {name for name in errors if name.startswith("nudging.")} <= pages
