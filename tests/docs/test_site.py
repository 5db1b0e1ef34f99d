"""The documentation site: its navigation, and the hooks that run while mkdocs builds it."""

import logging
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
URL = "https://github.com/nudging-project/nudging"


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """The module of hooks, as mkdocs loads it."""
    spec = spec_from_file_location("mkdocs_hooks", ROOT / "mkdocs_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_navigation_once() -> None:
    navigation = re.findall(r"^ +- .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    assert sorted(navigation) == sorted(pages)


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("rule.md", "[a](../core/nudging/errors.py)", f"[a]({URL}/blob/main/core/nudging/errors.py)"),
        ("rule.md", "[a](../core/nudging/rules)", f"[a]({URL}/tree/main/core/nudging/rules)"),
        ("rule.md", "[a](../CONTRIBUTING.md#tests)", f"[a]({URL}/blob/main/CONTRIBUTING.md#tests)"),
        ("reference/errors.md", "[a](../../LICENSE)", f"[a]({URL}/blob/main/LICENSE)"),
        ("reference/errors.md", "[a](../rule.md#a-sure-end)", "[a](../rule.md#a-sure-end)"),
        ("rule.md", "[a](python.md), [b](https://example.org)", "[a](python.md), [b](https://example.org)"),
    ],
)
def test_a_link_that_leaves_the_docs_points_to_the_repository(
    hooks: ModuleType, page: str, link: str, expected: str
) -> None:
    assert hooks.link_to_repository(link, DOCS / page, DOCS, URL) == expected


def test_a_link_to_a_missing_file_is_a_warning(hooks: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    link = "[a](../core/nudging/gone.py)"
    assert hooks.link_to_repository(link, DOCS / "rule.md", DOCS, URL) == link
    assert "rule.md links to ../core/nudging/gone.py, which does not exist" in caplog.text
    [record] = caplog.records
    assert record.name.startswith("mkdocs.")  # whose warnings fail a strict build
    assert record.levelno == logging.WARNING


def test_every_command_is_in_the_reference_with_its_options(hooks: ModuleType) -> None:
    from nudging.cli import app

    reference = hooks.command_reference()
    functions = [(command.name, command.callback) for command in app.registered_commands]
    for name, function in functions:
        assert f"\n## `nudging {name or function.__name__}`\n" in reference
    serve = reference.partition("## `nudging serve`")[2].partition("\n## ")[0]
    own, folded = serve.split("\n??? note")
    assert "* `--port " in own
    assert "--base-model" not in own
    assert "    * `--base-model " in folded
    assert "    * `--threshold " in folded
