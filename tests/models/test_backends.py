"""A model is run by the library that its name or its options choose, and the log says where that is slow."""

from pathlib import Path

import pytest
from nudging import MissingDependencyError, load_model, models
from nudging.models import config as config_module
from nudging.models.llamacpp.model import LlamaCppModel
from nudging.models.local.model import LocalModel


def test_a_gguf_file_runs_on_llama_cpp_and_a_folder_on_transformers(tmp_path: Path) -> None:
    assert isinstance(load_model(tmp_path / "model.gguf"), LlamaCppModel)
    assert isinstance(load_model("repo/name:model.gguf"), LlamaCppModel)
    assert isinstance(load_model(tmp_path), LocalModel)
    assert isinstance(load_model(tmp_path / "model.gguf", backend="transformers"), LocalModel)


def test_without_llama_cpp_a_gguf_file_is_unpacked_for_torch_and_the_log_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(config_module, "find_spec", lambda name: None)
    for _ in range(2):
        assert isinstance(load_model(tmp_path / "unpacked.gguf"), LocalModel)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "pip install 'nudging[llamacpp]'" in message
    caplog.clear()
    load_model(tmp_path / "chosen.gguf", backend="transformers")
    assert not caplog.records


def test_a_backend_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nudging.models.llamacpp.model", None)
    with pytest.raises(MissingDependencyError, match=r"nudging\[llamacpp\]"):
        load_model(tmp_path / "model.gguf", backend="llamacpp", n_ctx=7)


def test_equal_options_share_one_model_and_other_ones_do_not(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    assert load_model(path, n_ctx=64) is load_model(path, n_ctx=64)
    assert load_model(path, n_ctx=64) is not load_model(path, n_ctx=128)
    assert load_model(path) is not load_model(path, backend="transformers")


def test_a_model_with_an_access_token_is_not_shared_with_others(tmp_path: Path) -> None:
    model = load_model(tmp_path, model_kwargs={"token": "secret"})
    assert load_model(tmp_path, model_kwargs={"token": "secret"}) is model
    assert load_model(tmp_path, model_kwargs={"token": "other"}) is not model
    assert load_model(tmp_path) is not model
    assert "secret" not in repr(models._models)
