"""The weights of a local model: precision, device, and models that cannot be used."""

import shutil
from pathlib import Path

import pytest
import torch
from nudging import ModelNotFoundError, SettingsError
from nudging.models.local.model import LocalModel
from tiny import tiny_mamba


def texts(model: LocalModel) -> list[str]:
    session = model.session("the sun", author="base")
    found = [step.text for step in session.steps("", 12)]
    session.close()
    return found


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_runs(tiny_base: Path, dtype: str) -> None:
    model = LocalModel(tiny_base, dtype=dtype)
    assert len(texts(model)) > 0
    assert model.weights.load().dtype == getattr(torch, dtype)


def test_a_device_map_places_the_weights(tiny_base: Path) -> None:
    assert texts(LocalModel(tiny_base, device_map="cpu", dtype="float32")) == texts(LocalModel(tiny_base))


def test_a_recurrent_model_writes(tmp_path: Path) -> None:
    model = LocalModel(tiny_mamba(tmp_path))
    assert texts(model) == texts(model)  # the second time after going back


def test_a_missing_device_is_refused(tiny_base: Path) -> None:
    with pytest.raises(SettingsError, match="device='warp'"):
        LocalModel(tiny_base, device="warp").load()


def test_damaged_weights_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_base, tmp_path / "damaged")
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelNotFoundError, match="damaged"):
        LocalModel(folder).load()
