"""GGUF files by name: paths, and files on the hub."""

from pathlib import Path

import pytest
from nudging import ModelNotFoundError
from nudging.models.gguf_files import gguf_file, is_gguf

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An offline hub cache, in which nothing is yet."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def add_to(hub: Path, repository: str, *files: str, revision: str = "main") -> Path:
    """Add files to a hub cache, as huggingface_hub does. Return their folder."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True, exist_ok=True)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / revision).write_text(COMMIT)
    for file in files:
        (snapshot / file).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / file).write_bytes(b"GGUF and so on")
    return snapshot


@pytest.mark.parametrize("name", ["a.gguf", "A.GGUF", "owner/name:folder/file.gguf", "/a/b.c/d.gguf"])
def test_names_of_gguf_files(name: str) -> None:
    assert is_gguf(name)


@pytest.mark.parametrize("name", ["owner/name", "a.gguf.txt", "gguf", "folder/", "a-gguf"])
def test_other_names(name: str) -> None:
    assert not is_gguf(name)


def test_a_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    assert gguf_file(str(path)) == path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert gguf_file("~/model.gguf") == path
    monkeypatch.chdir(tmp_path)
    assert gguf_file("model.gguf") == Path("model.gguf")
    (tmp_path / "with").mkdir()
    colon = tmp_path / "with" / "co:lon.gguf"
    colon.write_bytes(b"GGUF")
    assert gguf_file("with/co:lon.gguf") == Path("with/co:lon.gguf")


@pytest.mark.parametrize(
    "name", ["missing.gguf", "./a/b:missing.gguf", "/a/b:missing.gguf", "~/a:missing.gguf", "a:b.gguf"]
)
def test_a_path_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match=r"there is no GGUF file .*check the path, or write repo:file.gguf"):
        gguf_file(name)


def test_a_folder_and_another_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(ModelNotFoundError, match="there is no GGUF file"):
        gguf_file(str(tmp_path / "folder.gguf"))
    for content in (b"", b"GG", b"PK\x03\x04 and so on"):
        (tmp_path / "other.gguf").write_bytes(content)
        with pytest.raises(ModelNotFoundError, match="is not a GGUF file"):
            gguf_file(str(tmp_path / "other.gguf"))


def test_a_file_on_the_hub_is_found_in_the_cache(hub: Path) -> None:
    folder = add_to(hub, "owner/name", "model-q4.gguf", "deep/model.gguf")
    assert gguf_file("owner/name:model-q4.gguf") == folder / "model-q4.gguf"
    assert gguf_file("owner/name:deep/model.gguf") == folder / "deep" / "model.gguf"


def test_a_revision_is_found_in_the_cache(hub: Path) -> None:
    folder = add_to(hub, "owner/name", "model.gguf", revision="v2")
    assert gguf_file("owner/name:model.gguf", "v2") == folder / "model.gguf"
    with pytest.raises(ModelNotFoundError):
        gguf_file("owner/name:model.gguf")


def test_all_parts_of_a_model_are_wanted(hub: Path) -> None:
    names = [f"big-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    folder = add_to(hub, "owner/name", *names)
    assert gguf_file(f"owner/name:{names[0]}") == folder / names[0]
    (folder / names[2]).unlink()
    with pytest.raises(ModelNotFoundError, match=r"cannot download 'big-00001-of-00003\.gguf' from 'owner/name'"):
        gguf_file(f"owner/name:{names[0]}")


@pytest.mark.parametrize("name", ["owner/name:model.gguf", "owner/na me:model.gguf", "a/b/c:model.gguf"])
def test_a_file_that_cannot_be_downloaded_is_refused(hub: Path, name: str) -> None:
    with pytest.raises(ModelNotFoundError, match=r"cannot download 'model\.gguf' from .*Check both names"):
        gguf_file(name)
