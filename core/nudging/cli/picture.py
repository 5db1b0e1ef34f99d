"""Pictures of what a command prints, as SVG files."""

import re
from io import StringIO
from pathlib import Path
from tempfile import TemporaryFile

from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

from nudging.errors import SettingsError

THEME = TerminalTheme(
    background=(22, 27, 34),
    foreground=(230, 237, 243),
    normal=[
        (110, 118, 129),  # black
        (255, 123, 114),  # red
        (86, 211, 100),  # green
        (227, 179, 65),  # yellow
        (121, 192, 255),  # blue
        (255, 119, 198),  # magenta: the nudging model
        (86, 212, 221),  # cyan: the base model
        (230, 237, 243),  # white
    ],
)

WEB_FONTS = re.compile(r"@font-face\s*{.*?}", re.DOTALL)
"""Rich's links to a font on the web. A picture has to work without the web, in the reader's monospace font."""


def check_picture(path: Path) -> None:
    """Raise before anything is computed if the picture could not be written.

    Raises:
        SettingsError: `path` is a folder, or its folder does not exist or is read-only.
    """
    try:
        TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise SettingsError(
            f"cannot write to {str(path.parent)!r}: {error.strerror}; give another file as --svg"
        ) from None
    if path.is_dir():
        raise SettingsError(f"--svg {str(path)!r} is a folder: give the name of a file")


def write_picture(printed: RenderableType, path: Path, width: int, title: str) -> None:
    """Write what a terminal of this width, in characters, shows. The same text gives the same bytes."""
    terminal = Console(record=True, width=width, file=StringIO(), force_terminal=True, highlight=False)
    terminal.print(printed)
    svg = terminal.export_svg(title=title, theme=THEME, unique_id="nudging")
    path.write_text(WEB_FONTS.sub("", svg), encoding="utf-8")
