"""The diagnosis of a machine: extras, memory, broken packages."""

from pathlib import Path

import pytest
from nudging.diagnosis import diagnose_machine, machine
from nudging.diagnosis.memory import RAM, Memory, Need, _container_limit, memory_by_device, overfull


def test_an_extra_is_missing_if_one_of_its_packages_is(monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = [
        "pydantic<3,>=2.7",
        "fastapi>=0.115; extra == 'server'",
        "nudging[cli,openai]; extra == 'server'",
        "openai>=1.60; extra == 'openai'",
        'tenacity>=9; python_version >= "3.10" and extra == "openai"',
        "rich>=13.7; extra == 'cli'",
        "openai>=1.60; extra == 'all'",
    ]
    monkeypatch.setattr(machine, "requires", lambda package: requirements)
    for package, missing in {"none": [], "rich": ["cli", "server"], "tenacity": ["openai", "server"]}.items():
        monkeypatch.setattr(machine, "_version", lambda name, absent=package: None if name == absent else "1.0")
        assert machine.missing_extras() == missing


def test_the_extras_of_this_package_are_read() -> None:
    assert "cli" not in machine.missing_extras()


def test_a_package_that_cannot_be_imported_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(devices: object) -> str:
        raise OSError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(machine, "_torch", broken)
    line = next(finding for finding in diagnose_machine() if finding.name == "transformers")
    assert line.status == "fail"
    assert "libcudart.so.12" in line.text


def test_memory_is_known_and_free_is_at_most_all_of_it() -> None:
    memory = memory_by_device()[RAM]
    assert 0 < memory.free <= memory.total


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_the_limit_of_a_container(tmp_path: Path) -> None:
    write(
        tmp_path / "2",
        {"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": "anon 1\ninactive_file 200\n"},
    )
    assert _container_limit(tmp_path / "2") == Memory(1000, 500)
    files = {"limit_in_bytes": "1000", "usage_in_bytes": "700", "stat": "total_inactive_file 100"}
    write(tmp_path / "1", {f"memory/memory.{name}": text for name, text in files.items()})
    assert _container_limit(tmp_path / "1") == Memory(1000, 400)
    write(tmp_path / "2", {"memory.max": "max\n"})
    assert _container_limit(tmp_path / "2") is None
    assert _container_limit(tmp_path / "none") is None


def test_models_fit_if_every_device_has_room() -> None:
    memory = {RAM: Memory(100, 80), "cuda:0": Memory(50, 40)}
    ram, gpu, both = frozenset({RAM}), frozenset({"cuda:0"}), frozenset({RAM, "cuda:0"})
    assert overfull([Need(70, ram), Need(30, gpu)], memory) is None
    assert overfull([Need(10, ram), Need(50, gpu)], memory) == (50, 40)
    assert overfull([Need(50, ram), Need(40, ram)], memory) == (90, 80)
    assert overfull([Need(100, both)], memory) is None
    assert overfull([Need(100, both), Need(30, gpu)], memory) == (130, 120)
    assert overfull([Need(1000, frozenset({"unknown"}))], memory) is None
