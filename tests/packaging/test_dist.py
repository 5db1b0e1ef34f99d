"""The wheels in dist/, each tried in a fresh environment on its snippet of the README (`make dist`)."""

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from email.parser import BytesParser
from pathlib import Path
from zipfile import ZipFile

import nudging
import pytest

pytestmark = [pytest.mark.dist, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"

SNIPPETS = {
    "nudging": ("from nudging import", "Tokyo"),
    "langchain-nudging": ("from langchain_nudging import", "Tokyo"),
    "llama-index-llms-nudging": ("from llamaindex_nudging import", "330"),
}
"""By distribution: the import by which its snippet of the README is found, and a text that the snippet prints."""

PROCESSOR = "nudging-vllm"
"""The distribution that is installed beside vLLM. `make test-vllm` runs it on a real server."""

CHECKS = """
import sys
from importlib.util import find_spec
import nudging
assert nudging.__file__.startswith(sys.prefix), f"nudging is imported from {nudging.__file__}"
assert bool(find_spec("torch")) is TORCH, "torch has to be installed with the extra transformers, and only with it"
assert not find_spec("lm_eval"), "lm_eval belongs to the extra eval"
"""


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(), flags=re.DOTALL)


def wheel(name: str) -> Path:
    return DIST / f"{name.replace('-', '_')}-{nudging.__version__}-py3-none-any.whl"


def snippet(name: str) -> str:
    """Return the code for a distribution: of the README, and of the distribution's own README if that differs."""
    statement, _ = SNIPPETS[name]
    ours = next(block for block in python_blocks(ROOT / "README.md") if statement in block)
    own = ROOT / "packages" / name / "README.md"
    return "\n".join(dict.fromkeys([ours, *(python_blocks(own) if own.exists() else [])]))


@pytest.fixture(scope="session")
def models() -> dict[str, dict[str, str]]:
    """The demo models of each backend, by the hub ids that stand for them in the README."""
    from nudging.models.demo import demo_pair

    ids = "google/gemma-3-270m", "HuggingFaceTB/SmolLM2-135M-Instruct"
    return {
        "transformers": dict(zip(ids, map(str, demo_pair(print, "transformers", "transformers")), strict=True)),
        "llamacpp": dict(zip(ids, map(str, demo_pair(print, "llamacpp", "llamacpp")), strict=True)),
    }


@pytest.fixture
def python(name: str, backend: str, tmp_path: Path) -> Iterator[Path]:
    """The Python of a new environment with the wheels of dist/ and their dependencies. It is deleted after the test."""
    venv.create(tmp_path / "environment", symlinks=True)
    python = tmp_path / "environment" / "bin" / "python"
    # the pip of this environment installs into the new one: it has the wheel of llama-cpp-python in its cache
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile"]
    options = ["--find-links", DIST, "--constraint", ROOT / "constraints.txt"]
    done = run(*install, *options, wheel("nudging"), f"{wheel(name)}[{backend}]", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    yield python
    shutil.rmtree(tmp_path / "environment")


@pytest.mark.parametrize("backend", ["transformers", "llamacpp"])
@pytest.mark.parametrize("name", SNIPPETS)
@pytest.mark.enable_socket
def test_a_snippet_runs_in_a_fresh_environment(
    name: str, backend: str, python: Path, models: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    script = tmp_path / "snippet.py"
    script.write_text(
        local_code(snippet(name), models[backend]) + CHECKS.replace("TORCH", str(backend == "transformers"))
    )
    done = run(python, "-I", script, folder=tmp_path)  # -I: without PYTHONPATH and the folder of the script
    assert done.returncode == 0, done.stderr
    assert SNIPPETS[name][1] in done.stdout


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    return subprocess.run(  # noqa: S603
        command, cwd=folder, env=environment | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True
    )


def local_code(snippet: str, places: dict[str, str]) -> str:
    for hub_id, place in places.items():
        assert hub_id in snippet
        snippet = snippet.replace(hub_id, place)
    return snippet


@pytest.mark.parametrize("name", [*SNIPPETS, PROCESSOR])
def test_the_long_description_has_no_link_that_is_dead_on_an_index(name: str) -> None:
    with ZipFile(wheel(name)) as files:
        metadata = next(path for path in files.namelist() if path.endswith(".dist-info/METADATA"))
        text = str(BytesParser().parsebytes(files.read(metadata)).get_payload())
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"\b(?:src|srcset|href)=\"([^\"\s]+)\"", text)
    assert targets
    assert [target for target in targets if not target.startswith("https://")] == []
    files_of_the_tag = re.compile(rf"https://\S+/nudging/(?:blob/)?v{re.escape(nudging.__version__)}/([^#]+)")
    paths = [found[1] for target in targets if (found := files_of_the_tag.match(target))]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_each_wheel_has_its_own_code_only() -> None:
    expected = {
        "nudging": {"nudging", "langchain_nudging", "llamaindex_nudging", "llama_index"},
        PROCESSOR: {"nudging_vllm.py"},
    }
    for name in [*SNIPPETS, PROCESSOR]:
        code = {path.split("/")[0] for path in ZipFile(wheel(name)).namelist() if ".dist-info/" not in path}
        assert code == expected.get(name, set())
    inits = {path for path in ZipFile(wheel("nudging")).namelist() if path.startswith("llama_index/")}
    assert inits == {"llama_index/llms/nudging/__init__.py", "llama_index/llms/nudging/py.typed"}
