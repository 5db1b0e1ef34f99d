"""The table of families in docs/models.md.

python tests/families/table.py    writes it (several minutes)
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from families.small_models import decoder_types
from families.verdicts import NOT_FOR_TEXT, Verdict, verdict

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
START, END = "<!-- families -->\n", "<!-- end of families -->\n"
HEAD = "| type in transformers | | goes back | batched |\n|---|---|---|---|\n"


def table(verdicts: Mapping[str, Verdict]) -> str:
    """Return the verdicts as a table."""
    lines = (
        f"| {model_type} | {one.outcome} | {one.detail} | {'yes' if one.is_batched else ''} |\n"
        for model_type, one in sorted(verdicts.items())
    )
    return HEAD + "".join(lines)


def rows_of(page: str) -> dict[str, Verdict]:
    """Return the verdicts that a page has."""
    lines = page.partition(START)[2].partition(END)[0].removeprefix(HEAD).splitlines()
    cells = ([cell.strip() for cell in line.strip("| ").split("|")] for line in lines)
    return {row[0]: Verdict(row[1], row[2], row[3:] == ["yes"]) for row in cells}


def main() -> None:
    """Write the table into the page."""
    verdicts = {}
    for model_type in decoder_types():
        if model_type in NOT_FOR_TEXT:
            verdicts[model_type] = Verdict("refused", NOT_FOR_TEXT[model_type])
            continue
        with TemporaryDirectory() as folder:
            verdicts[model_type] = verdict(model_type, Path(folder))
        print(model_type, verdicts[model_type])
    before, _, rest = PAGE.read_text().partition(START)
    PAGE.write_text(before + START + table(verdicts) + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
