"""Fixtures for all tests: the real demo pair, and tiny random models. No test reaches the network.

Packages that take long to import are imported inside the fixtures that need them.
"""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # the processes of a parallel run share the cores
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

import pytest
from hypothesis import settings
from nudging import Nudger

settings.register_profile("nudging", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("nudging")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--without-models", action="store_true", help="skip the tests that need the real demo models")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--without-models"):
        from nudging.models import demo

        demo._model = lambda *_: pytest.skip("needs the demo models")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> None:
    """Load the plugin of schemathesis for the tests that use it. It takes a second to import."""
    if file_path.name == "test_openapi.py":
        parent.config.pluginmanager.import_plugin("schemathesis.pytest.plugin")


@pytest.fixture(scope="session")
def pair() -> tuple[Path, Path]:
    """The folders of the real base and nudging model. They are converted into the user's cache the first time."""
    from nudging.models.demo import demo_pair

    return demo_pair(print)


@pytest.fixture(scope="session")
def demo(pair: tuple[Path, Path]) -> Nudger:
    """The real pair with the default settings."""
    return Nudger(base_model=pair[0], nudging_model=pair[1])


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random base model."""
    from tiny import tiny_gemma

    return tiny_gemma(tmp_path_factory.mktemp("tiny") / "gemma")


@pytest.fixture(scope="session")
def tiny_nudging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random nudging model."""
    from tiny import tiny_llama

    return tiny_llama(tmp_path_factory.mktemp("tiny") / "llama")


@pytest.fixture
def tiny(tiny_base: Path, tiny_nudging: Path) -> Nudger:
    """Tiny random models. All tests that use this fixture share their weights and caches."""
    return Nudger(base_model=tiny_base, nudging_model=tiny_nudging, threshold=0.3, max_tokens=40)


@pytest.fixture
def own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset LlamaIndex's global settings to those of a new process, for one test."""
    import llama_index.core
    from llama_index.core import Settings

    for name in ("_llm", "_embed_model", "_callback_manager"):
        monkeypatch.setattr(Settings, name, None)
    monkeypatch.setattr(llama_index.core, "global_tokenizer", None)
