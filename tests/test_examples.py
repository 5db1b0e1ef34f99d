"""The examples, the README's recipes and what the docs show answer, on the real pair, offline."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from nudging import Nudger
from served import serving
from standin import standing_in

ROOT = Path(__file__).parents[1]
DOCS = "docs/langchain.md", "docs/llamaindex.md"


def code(path: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / path).read_text(), flags=re.DOTALL)


RECIPES = [*code("README.md"), *("# " + path + "\n" + "\n".join(code(path)) for path in DOCS)]


EXAMPLES = {
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
"""Scripts, and what their output shows to have worked."""

AGENTS = "langchain_agent.py", "llamaindex_agent.py"
"""Those that need a nudging model that knows tools."""

SHARED = "documents.py", "embeddings.py", "llamaindex_index.py"
"""What the scripts import."""


def test_every_example_is_short_and_run() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "examples").glob("*.py")}
    assert max(lengths.values()) <= 40
    assert set(lengths) == {*EXAMPLES, *AGENTS, *SHARED}


@pytest.mark.standard
@pytest.mark.parametrize("script", AGENTS)
def test_an_agent_calls_a_tool_by_its_own_judgement(
    script: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(script, monkeypatch)
    assert "74" in capsys.readouterr().out


@pytest.mark.parametrize(("script", "expected"), EXAMPLES.items())
def test_an_example_answers(
    pair: tuple[Path, Path],
    script: str,
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(script, monkeypatch)
    assert expected in capsys.readouterr().out


@pytest.mark.enable_socket
def test_what_the_page_on_deployment_shows_runs(
    pair: tuple[Path, Path], tiny_base: Path, tiny_nudging: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask_a_server, on_two_servers = code("docs/deployment.md")
    with serving(Nudger(*pair, max_tokens=16)) as url:
        exec(ask_a_server.replace("http://localhost:8080", url), {})  # noqa: S102
    assert capsys.readouterr().out.strip()
    with standing_in(tiny_base, name="base") as base, standing_in(tiny_nudging, name="nudging") as nudging:
        here = on_two_servers.replace("http://localhost:8001/v1", base.url).replace(
            "http://localhost:8002/v1", nudging.url
        )
        exec(here + "\nprint(chat.invoke('why is the sky blue?').text)", {})  # noqa: S102
    assert capsys.readouterr().out.strip()


def run(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "examples"), *sys.path])
    runpy.run_path(str(ROOT / "examples" / script), run_name="__main__")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.strip().splitlines()[0])
@pytest.mark.usefixtures("own_settings")
def test_a_recipe_runs(pair: tuple[Path, Path], recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    here = recipe.replace("google/gemma-3-270m", str(pair[0])).replace(
        "HuggingFaceTB/SmolLM2-135M-Instruct", str(pair[1])
    )
    assert here != recipe, "a recipe names the models of the demo pair"
    exec(compile(here, "recipe", "exec"), {"__name__": "recipe"})  # noqa: S102
    assert capsys.readouterr().out.strip()
