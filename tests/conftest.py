"""Models for the tests: the real demo pair, and tiny random ones. No test reaches the network."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import llama_index.core
import pytest
from hypothesis import settings
from llama_index.core import Settings
from nudging import Nudger
from nudging.models.demo import demo_pair
from tiny import tiny_gemma, tiny_llama

settings.register_profile("nudging", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("nudging")


@pytest.fixture(scope="session")
def pair() -> tuple[Path, Path]:
    """The real base and nudging model; converted into the user's cache the first time."""
    return demo_pair(print)


@pytest.fixture(scope="session")
def demo(pair: tuple[Path, Path]) -> Nudger:
    """The real pair with the default settings."""
    return Nudger(base_model=pair[0], nudging_model=pair[1])


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gemma(tmp_path_factory.mktemp("tiny") / "gemma")


@pytest.fixture(scope="session")
def tiny_nudging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("tiny") / "llama")


@pytest.fixture
def tiny(tiny_base: Path, tiny_nudging: Path) -> Nudger:
    """Tiny random models, their caches shared by all tests that use them."""
    return Nudger(base_model=tiny_base, nudging_model=tiny_nudging, threshold=0.3, max_tokens=40)


@pytest.fixture
def own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """LlamaIndex's global settings as they are in a new process, for this test alone."""
    for name in ("_llm", "_embed_model", "_callback_manager"):
        monkeypatch.setattr(Settings, name, None)
    monkeypatch.setattr(llama_index.core, "global_tokenizer", None)
