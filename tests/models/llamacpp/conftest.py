"""Tiny GGUF files of three kinds, and the real demo files."""

from pathlib import Path

import pytest
from nudging import Nudger
from nudging.models.llamacpp.model import LlamaCppModel
from tiny_gguf import OTHER, jamba_gguf, llama_gguf, mamba_gguf


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A transformer with a chat template, one without and with a BOS, a recurrent model and a hybrid one."""
    folder = tmp_path_factory.mktemp("gguf")
    return {
        "llama": llama_gguf(folder / "llama.gguf"),
        "base": llama_gguf(folder / "base.gguf", seed=1, vocabulary=OTHER, templates=None),
        "mamba": mamba_gguf(folder / "mamba.gguf"),
        "jamba": jamba_gguf(folder / "jamba.gguf"),
    }


@pytest.fixture(params=["llama", "mamba", "jamba"])
def path(request: pytest.FixtureRequest, files: dict[str, Path]) -> Path:
    """A file of each kind."""
    return files[request.param]


@pytest.fixture
def nudger(files: dict[str, Path]) -> Nudger:
    """Tiny models with caches of their own."""
    return Nudger(LlamaCppModel(files["base"]), LlamaCppModel(files["llama"]), threshold=0.3, max_tokens=40)


@pytest.fixture(scope="session")
def real_files() -> tuple[Path, Path]:
    """The real base and nudging model."""
    from nudging.models.demo import demo_pair

    return demo_pair(print, "llamacpp", "llamacpp")
