"""Hooks of the documentation site: links that leave `docs/`, and the reference of the command line.

The pages in `docs/` are read on GitHub too. There a link such as `../examples/langchain_rag.py` works as it is. On the
site it must point to the repository.
"""

import logging
import re
import subprocess
import sys
from os.path import normpath
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

BRANCH = "main"

COMMANDS = "<!-- commands -->"
"""The place in a page where the reference of the command line is put."""

LINK = re.compile(r"\]\((?P<path>\.\./[^)#\s]+)(?P<anchor>#[^)\s]+)?\)")
"""The target of a Markdown link that begins with `../`."""

SHARED_OPTION = re.compile(r"(?:^\* `--(?:config|base-model)\b.*\n)(?:^\* `--.*\n)+", re.MULTILINE)
"""The options of a command from `--config` on: those of the pair, its settings and `--help`."""

log = logging.getLogger("mkdocs.hooks.nudging")  # below "mkdocs", whose warnings are errors in strict mode


def on_page_markdown(markdown: str, *, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Return the Markdown of a page with links into the repository, and with the commands of `nudging`."""
    source, docs, url = Path(str(page.file.abs_src_path)), Path(config.docs_dir), str(config.repo_url)
    markdown = link_to_repository(markdown, source, docs, url)
    return markdown.replace(COMMANDS, command_reference()) if COMMANDS in markdown else markdown


def link_to_repository(markdown: str, source: Path, docs: Path, url: str) -> str:
    """Return the Markdown of a page, in which links to files outside of `docs` have URLs of the repository.

    A link to a file that does not exist is logged as a warning, which fails a strict build.

    Args:
        markdown: The text of the page.
        source: The file of the page.
        docs: The folder of all pages. Its parent is the root of the repository.
        url: The URL of the repository.
    """

    def target(link: re.Match[str]) -> str:
        path = Path(normpath(source.parent / link["path"]))
        if path.is_relative_to(docs):
            return link[0]
        if not path.exists():
            log.warning("%s links to %s, which does not exist", source.name, link["path"])
            return link[0]
        kind = "tree" if path.is_dir() else "blob"
        place = path.relative_to(docs.parent).as_posix()
        return f"]({url}/{kind}/{BRANCH}/{place}{link['anchor'] or ''})"

    return LINK.sub(target, markdown)


def command_reference() -> str:
    """Return all commands of `nudging` with their options as Markdown, as typer documents them.

    The options of the pair are the same in nearly all commands, so they are folded.
    """
    command = [sys.executable, "-m", "typer", "nudging.cli", "utils", "docs", "--name", "nudging"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    _, heading, commands = text.partition("\n## ")
    return SHARED_OPTION.sub(_folded, heading + commands)


def _folded(options: re.Match[str]) -> str:
    lines = options[0].splitlines()
    indented = "".join(f"    {line}\n" for line in lines)
    return f'\n??? note "Options of the pair, and settings ({len(lines)})"\n\n{indented}'
