"""The distributions agree with one another, and the files around them with the versions they name."""

import re
import sys
from importlib import import_module
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import nudging
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]

EXTRAS = {"langchain-nudging": "langchain", "llama-index-llms-nudging": "llamaindex"}
"""The extra of `nudging` that each distribution without code brings."""

BACKENDS = {"transformers", "llamacpp", "openai", "server"}
"""The extras that they pass on."""


def read_toml(path: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / path).read_text())


def pinned_versions() -> dict[str, str]:
    return dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)


MAIN = read_toml("pyproject.toml")["project"]
NAMES = pytest.mark.parametrize("name", EXTRAS)


@pytest.fixture
def thin(name: str) -> dict[str, Any]:
    return read_toml(f"packages/{name}/pyproject.toml")


@NAMES
def test_a_distribution_brings_the_code_of_its_own_version(name: str, thin: dict[str, Any]) -> None:
    project, version = thin["project"], nudging.__version__
    assert (project["name"], project["version"]) == (name, version)
    assert project["dependencies"] == [f"nudging[{EXTRAS[name]}]=={version}"]
    assert project["optional-dependencies"] == {extra: [f"nudging[{extra}]=={version}"] for extra in BACKENDS}
    assert BACKENDS | {EXTRAS[name]} <= set(MAIN["optional-dependencies"])


def test_the_package_for_vllm_has_this_version_and_licence() -> None:
    project = read_toml("packages/nudging-vllm/pyproject.toml")["project"]
    assert (project["name"], project["version"]) == ("nudging-vllm", nudging.__version__)
    for key in ("requires-python", "license", "license-files", "authors"):
        assert project[key] == MAIN[key]
    assert (ROOT / "packages/nudging-vllm/LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@NAMES
def test_a_distribution_describes_itself_like_nudging(name: str, thin: dict[str, Any]) -> None:
    project = thin["project"]
    for key in ("requires-python", "license", "license-files", "authors"):
        assert project[key] == MAIN[key]
    others = ("Framework", "Environment")
    assert project["classifiers"] == [one for one in MAIN["classifiers"] if not one.startswith(others)]
    page = project["urls"]["Documentation"].removeprefix(MAIN["urls"]["Documentation"]).strip("/")
    assert (ROOT / "docs" / f"{page}.md").is_file()
    assert project["urls"] == {**MAIN["urls"], "Documentation": f"{MAIN['urls']['Documentation']}{page}/"}
    assert (ROOT / "packages" / name / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@NAMES
def test_the_readme_of_a_distribution_names_all_its_extras_and_no_version(name: str) -> None:
    text = (ROOT / "packages" / name / "README.md").read_text()
    assert set(re.findall(rf"pip install '{name}\[(\w+)\]'", text)) == BACKENDS
    assert nudging.__version__ not in text


def test_llamahub_finds_the_class() -> None:
    hub = read_toml("packages/llama-index-llms-nudging/pyproject.toml")["tool"]["llamahub"]
    module = import_module(hub["import_path"])
    assert set(hub["class_authors"]) == set(module.__all__)
    assert (ROOT / "examples" / "llamaindex_query_engine.py").is_file() is hub["contains_example"]


def test_the_namespace_of_llamaindex_is_left_open() -> None:
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "llama_index").rglob("*.py")}
    assert ours == {"llama_index/llms/nudging/__init__.py"}
    for other in ("llama_index.llms.openai_like", "llama_index.core.llms", "llama_index.llms.nudging"):
        assert import_module(other)


def test_every_supported_python_is_tested() -> None:
    classifiers = [one.rpartition(" ")[2] for one in MAIN["classifiers"] if re.search(r"Python :: 3\.\d+$", one)]
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == classifiers
    assert MAIN["requires-python"] == f">={classifiers[0]}"


def test_the_newest_release_in_the_changelog_is_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text
    assert re.findall(r"^## \[(\d\S*)\] - \d{4}-\d\d-\d\d$", text, flags=re.MULTILINE)[0] == nudging.__version__


def test_pre_commit_runs_the_pinned_versions() -> None:
    pinned = pinned_versions()
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    revisions = {repo["repo"].rpartition("/")[2]: repo["rev"].removeprefix("v") for repo in repos if "rev" in repo}
    names = {"ruff-pre-commit": "ruff", "check-jsonschema": "check-jsonschema", "zizmor-pre-commit": "zizmor"}
    assert {name: revisions[repo] for repo, name in names.items()} == {name: pinned[name] for name in names.values()}


@pytest.mark.skipif(Path(sys.prefix).name != "lowest", reason="needs the environment of make test-lowest")
def test_each_lower_bound_is_the_version_that_is_tested() -> None:
    """A bound below what the resolver can choose, because of another dependency, would never be tested."""
    requirements = [Requirement(one) for one in chain(MAIN["dependencies"], *MAIN["optional-dependencies"].values())]
    bounds = {
        requirement.name: Version(specifier.version)
        for requirement in requirements
        for specifier in requirement.specifier
        if specifier.operator == ">=" and requirement.name != "torch"  # the Makefile says why
    }
    assert {name: Version(version(name)) for name in bounds} == bounds
