"""Run the examples, as notebooks, and every Python block of the README and the docs, offline, most on the real pair."""

import re
import runpy
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from llamacpp_server import llamacpp_server
from nudging import Nudger
from odd_servers import Ollama, odd_server
from served import serving
from standin import standing_in
from tiny import tiny_llama

ROOT = Path(__file__).parents[1]


def python_blocks(path: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / path).read_text(), flags=re.DOTALL)


PAGES = [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))]

URL = "http://localhost"

OWN_TESTS = (
    *("docs/deployment.md", "docs/openai-api.md", "docs/servers.md", "docs/evaluation.md", "docs/baselines.md"),
    "docs/testing.md",
)
"""Pages whose code needs servers or data, or no models at all, and has a test of its own."""

SNIPPETS = {
    **{f"README.md-{number}": block for number, block in enumerate(python_blocks("README.md"), 1)},
    # the blocks of a docs page build on each other
    **{page: "\n".join(python_blocks(page)) for page in PAGES if page not in OWN_TESTS and python_blocks(page)},
}
"""Code by the place where it is."""

EXAMPLES = {
    "first_steps.py": "nudging  '1.'",
    "langchain_chain.py": "Paris",
    "langchain_rag.py": "330",
    "langchain_rag_sources.py": "documents.py, document 2",
    "langchain_memory.py": "The capital of Italy is Rome.",
    "langchain_structured.py": "Order(customer='Ada', items=[Item(product='Apple', amount=3, unit='kg')",
    "langgraph_tool_loop.py": "7 degrees",
    "llamaindex_query_engine.py": "330",
    "llamaindex_chat_engine.py": "Paris",
    "llamaindex_structured.py": "name='Ada Lovelace' nights=3 room='double'",
    "llamaindex_sub_questions.py": "80",
    "llamaindex_react_agent.py": "74",
}
"""Scripts with a notebook, and a text that its output must contain."""

AGENTS = "langchain_agent.py", "llamaindex_agent.py"
"""Scripts that need a nudging model that can call tools."""

SHARED = "documents.py", "embeddings.py", "llamaindex_index.py"
"""Modules that the scripts import."""


def test_every_example_is_short_and_run() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "examples").glob("*.py")}
    assert max(lengths.values()) <= 40
    assert set(lengths) == {*EXAMPLES, *AGENTS, *SHARED}


@pytest.mark.standard
@pytest.mark.parametrize("script", AGENTS)
def test_an_agent_decides_to_call_a_tool(
    script: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(script, monkeypatch)
    assert "74" in capsys.readouterr().out


@pytest.fixture(scope="module")
def notebooks() -> ModuleType:
    """The program that makes the notebooks."""
    spec = spec_from_file_location("notebooks", ROOT / "examples" / "notebooks" / "generate.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(notebook: Any) -> str:
    """Return all outputs of a notebook as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "".join(output.text if output.output_type == "stream" else output.data["text/plain"] for output in outputs)


@pytest.mark.parametrize(("script", "expected"), EXAMPLES.items())
def test_the_notebook_of_an_example_runs(
    pair: tuple[Path, Path], notebooks: ModuleType, script: str, expected: str
) -> None:
    """A notebook has the code of its script, so the script is not run again."""
    notebook = notebooks.sources(script.removesuffix(".py"))
    notebooks.run(notebook)
    assert expected in shown(notebook)


def test_the_notebooks_are_those_of_the_scripts(notebooks: ModuleType) -> None:
    """If this fails: `make notebooks`."""
    folder = ROOT / "examples" / "notebooks"
    assert {path.stem for path in folder.glob("*.ipynb")} == set(notebooks.NOTEBOOKS)
    assert {f"{name}.py" for name in notebooks.NOTEBOOKS} == set(EXAMPLES)
    for name in notebooks.NOTEBOOKS:
        text = notebooks.path(name).read_text()
        stored = notebooks.nbformat.reads(text, as_version=4)
        assert EXAMPLES[f"{name}.py"] in shown(stored)
        for cell in stored.cells:
            if cell.cell_type == "code":
                cell.outputs = []
        assert stored == notebooks.sources(name)
        assert str(Path.home()) not in text


def test_the_first_notebook_shows_answers_in_colour(notebooks: ModuleType) -> None:
    stored = notebooks.nbformat.read(notebooks.path("first_steps"), as_version=4)
    html = [output.data["text/html"] for cell in stored.cells for output in cell.get("outputs", ()) if "data" in output]
    assert ['class="nudging-nudging"' in answer for answer in html] == [True, False, True]


def run(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "examples"), *sys.path])
    runpy.run_path(str(ROOT / "examples" / script), run_name="__main__")


@pytest.fixture
def server_urls(tiny_base: Path, tiny_nudging: Path) -> Iterator[dict[str, str]]:
    """The URLs of two stand-in servers, by the URLs that stand for them in the docs."""
    with standing_in(tiny_base, name="base") as base, standing_in(tiny_nudging, name="nudging") as nudging:
        yield {"http://localhost:8001/v1": base.url, "http://localhost:8002/v1": nudging.url}


@pytest.fixture
def gguf_pair() -> dict[str, str]:
    """The GGUF files of the real pair, by the names that stand for them in the docs."""
    from nudging.models.demo import demo_pair

    base, nudging = demo_pair(base_backend="llamacpp", nudging_backend="llamacpp")
    return {"base.gguf": str(base), "chat.gguf": str(nudging)}


@pytest.mark.parametrize(
    "snippet", [pytest.param(code, id=place) for place, code in SNIPPETS.items() if URL not in code]
)
@pytest.mark.usefixtures("own_settings")
def test_a_snippet_of_the_docs_runs(
    pair: tuple[Path, Path], gguf_pair: dict[str, str], snippet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"google/gemma-3-270m": str(pair[0]), "HuggingFaceTB/SmolLM2-135M-Instruct": str(pair[1])}
    execute(snippet, places | gguf_pair)
    assert capsys.readouterr().out.strip()


@pytest.mark.enable_socket
@pytest.mark.parametrize("snippet", [pytest.param(code, id=place) for place, code in SNIPPETS.items() if URL in code])
def test_a_snippet_that_uses_servers_runs(
    server_urls: dict[str, str], snippet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(snippet, server_urls)
    assert capsys.readouterr().out.strip()


@pytest.mark.enable_socket
def test_the_snippets_of_the_deployment_page_run(
    pair: tuple[Path, Path], server_urls: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    ask_a_server, on_two_servers = python_blocks("docs/deployment.md")
    with serving(Nudger(*pair, max_tokens=16)) as url:
        execute(ask_a_server, {"http://localhost:8080": url})
    assert capsys.readouterr().out.strip()
    execute(on_two_servers + "\nprint(chat.invoke('why is the sky blue?').text)", server_urls)
    assert capsys.readouterr().out.strip()


@pytest.mark.enable_socket
def test_the_snippets_of_the_page_about_the_servers_api_run(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Nudger(*pair, max_tokens=16)) as url:
        execute("\n".join(python_blocks("docs/openai-api.md")), {"http://localhost:8080": url})
    assert len(capsys.readouterr().out.splitlines()) > 3


@pytest.mark.enable_socket
def test_the_snippets_of_the_servers_page_run(
    gguf_pair: dict[str, str], tiny_base: Path, tiny_nudging: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_llamacpp, on_ollama = (
        f"{block}\nprint(nudger.generate('why is the sky blue?', max_tokens=8).text)"
        for block in python_blocks("docs/servers.md")
    )
    files = map(Path, gguf_pair.values())
    with llamacpp_server(next(files)) as base, llamacpp_server(next(files)) as nudging:
        execute(on_llamacpp, {"http://localhost:8081/v1": base.url, "http://localhost:8082/v1": nudging.url})
    assert capsys.readouterr().out.strip()
    with (
        odd_server(Ollama, tiny_base, name="gemma3-base:latest") as base,
        odd_server(Ollama, tiny_nudging, name="smollm2:135m") as nudging,
    ):
        places = {'base_url="http://localhost:11434/v1"': f"base_url={base.url!r}"}
        places |= {'nudging_url="http://localhost:11434/v1"': f"nudging_url={nudging.url!r}"}
        places |= {"google/gemma-3-270m": str(tiny_base), "HuggingFaceTB/SmolLM2-135M-Instruct": str(tiny_nudging)}
        execute(on_ollama, places)
    assert capsys.readouterr().out.strip()


def test_the_snippet_of_the_evaluation_page_runs(
    tiny_base: Path,
    tiny_nudging: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load_dataset(*where: Any, split: str) -> list[dict[str, str]]:
        return [{"question": "How many?", "answer": "70+2=<<70+2=72>>72\n#### 72"}]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.chdir(tmp_path)
    places = {"google/gemma-3-270m": str(tiny_base), "HuggingFaceTB/SmolLM2-135M-Instruct": str(tiny_nudging)}
    execute("\n".join(python_blocks("docs/evaluation.md")), places)
    assert capsys.readouterr().out.count("gsm8k") >= 3  # the base model alone, and two thresholds


def test_the_snippet_of_the_baselines_page_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = "Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-0.5B"
    one_family = {f'"{name}"': repr(str(tiny_llama(tmp_path / str(seed), seed))) for seed, name in enumerate(names)}
    execute("\n".join(python_blocks("docs/baselines.md")), one_family)
    assert capsys.readouterr().out.strip()


def test_the_snippets_of_the_testing_page_run(capsys: pytest.CaptureFixture[str]) -> None:
    printed = "Hello there, how can I help?\n(ToolCall(name='look_up', arguments={'country': 'France'}),)\n"
    exec(compile("\n".join(python_blocks("docs/testing.md")), "snippet", "exec"), {"__name__": "snippet"})  # noqa: S102
    assert capsys.readouterr().out == f"{printed}Hello there, how can I help? 1.0\n"


def execute(code: str, places: dict[str, str]) -> None:
    """Run code in which model names and URLs are replaced by local ones. At least one of them must occur."""
    here = code
    for name, place in places.items():
        here = here.replace(name, place)
    assert here != code, f"the code names none of {', '.join(places)}"
    exec(compile(here, "snippet", "exec"), {"__name__": "snippet"})  # noqa: S102
