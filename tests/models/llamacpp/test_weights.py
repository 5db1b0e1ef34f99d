"""Damaged files, other kinds of models and wrong adapters are refused with the reason."""

from pathlib import Path

import pytest
from gguf import GGUFWriter
from nudging import ModelNotFoundError, NudgingError, SettingsError, UnsupportedModelError
from nudging.models.llamacpp.model import LlamaCppModel
from tiny_gguf import llama_gguf, lora_gguf


@pytest.mark.parametrize("kept", [4, 8, 100, 3000, 0.5, 0.99, -1], ids=str)
def test_a_file_that_is_cut_short_is_refused(files: dict[str, Path], tmp_path: Path, kept: float) -> None:
    data = files["llama"].read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(data[: int(kept * len(data)) if 0 < kept < 1 else int(kept)])
    with pytest.raises(ModelNotFoundError, match=r"cut\.gguf' is damaged or cut short: llama\.cpp says .(?!no reason)"):
        LlamaCppModel(cut).load()


def test_a_real_file_that_is_cut_short_is_refused(real_files: tuple[Path, Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    with real_files[1].open("rb") as whole:
        cut.write_bytes(whole.read(20_000_000))
    with pytest.raises(ModelNotFoundError, match="is damaged or cut short"):
        LlamaCppModel(cut).load()


def test_a_file_with_changed_bytes_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    data = bytearray(files["llama"].read_bytes())
    data[8:24] = b"\xff" * 16
    damaged.write_bytes(bytes(data))
    with pytest.raises(ModelNotFoundError, match="is damaged or cut short"):
        LlamaCppModel(damaged).load()


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("This is not a model.")
    with pytest.raises(ModelNotFoundError, match="is not a GGUF file"):
        LlamaCppModel(tmp_path / "text.gguf").load()
    with pytest.raises(ModelNotFoundError, match=r"there is no GGUF file .*missing\.gguf': check the path"):
        LlamaCppModel(tmp_path / "missing.gguf").load()


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    path = llama_gguf(tmp_path / "new.gguf", architecture="brandnew")
    with pytest.raises(ModelNotFoundError, match=r"unknown model architecture: 'brandnew'.*A newer llama-cpp-python"):
        LlamaCppModel(path).load()


def test_embedding_models_are_refused(tmp_path: Path) -> None:
    path = llama_gguf(tmp_path / "embed.gguf", edit=lambda writer: writer.add_causal_attention(False))
    with pytest.raises(UnsupportedModelError, match=r"does not write text .*: its tokens see those after them"):
        LlamaCppModel(path).load()
    path = llama_gguf(tmp_path / "pool.gguf", edit=lambda writer: writer.add_uint32("llama.pooling_type", 1))
    with pytest.raises(UnsupportedModelError, match=r"it is an embedding or a ranking model"):
        LlamaCppModel(path).load()


def without_tokenizer(writer: GGUFWriter) -> None:
    for data in writer.kv_data:
        for key in [key for key in data if key.startswith("tokenizer.")]:
            del data[key]


def test_a_model_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    def no_vocabulary(writer: GGUFWriter) -> None:
        without_tokenizer(writer)
        writer.add_tokenizer_model("no_vocab")

    path = llama_gguf(tmp_path / "none.gguf", edit=no_vocabulary)
    with pytest.raises(UnsupportedModelError, match="it has no vocabulary"):
        LlamaCppModel(path).load()
    path = llama_gguf(tmp_path / "missing.gguf", edit=without_tokenizer)
    with pytest.raises(ModelNotFoundError, match="tokenizer"):
        LlamaCppModel(path).load()


def test_a_nudger_raises_the_same_errors(files: dict[str, Path], tmp_path: Path) -> None:
    from nudging import Nudger

    (tmp_path / "text.gguf").write_text("This is not a model.")
    with pytest.raises(NudgingError, match="is not a GGUF file"):
        Nudger(tmp_path / "text.gguf", files["llama"]).generate("Hi")
    with pytest.raises(NudgingError, match="has no chat template: pass nudging_template"):
        Nudger(files["llama"], files["base"]).generate("Hi")


def answer(path: Path, **options: object) -> list[str]:
    session = LlamaCppModel(path, **options).session("the sky is", author="base")  # type: ignore[arg-type]
    return [step.text for step in session.steps("", 12)]


def test_an_adapter_changes_the_answer_as_far_as_its_scale_says(files: dict[str, Path], tmp_path: Path) -> None:
    path, one, two = files["llama"], lora_gguf(tmp_path / "one.gguf", 1), lora_gguf(tmp_path / "two.gguf", 2)
    plain, with_one, with_two = answer(path), answer(path, lora=one), answer(path, lora={str(two): 1.0})
    assert len({tuple(found) for found in (plain, with_one, with_two)}) == 3
    assert answer(path, lora={str(one): 0.0}) == plain
    assert answer(path, lora={str(one): 1.0}) == with_one
    assert answer(path, lora={str(one): 0.0, str(two): 1.0}) == with_two
    assert answer(path, lora={str(one): 1.0, str(two): 1.0}) not in (plain, with_one, with_two)


def test_an_adapter_stays_when_memory_grows(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lora = files["llama"], lora_gguf(tmp_path / "lora.gguf", 1)
    expected = answer(path, lora=lora)
    monkeypatch.setattr("nudging.models.llamacpp.context.CELLS", 512)
    model = LlamaCppModel(path, lora=lora)
    held = [model.session("the sun is far away " * 20 + str(number), author="base") for number in range(6)]
    for session in held:
        next(session.steps("", 1))
    assert model.engine.context()._cells > 512
    assert [step.text for step in model.session("the sky is", author="base").steps("", 12)] == expected


def test_a_wrong_adapter_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    path = files["llama"]
    with pytest.raises(ModelNotFoundError, match=r"there is no LoRA file .*missing\.gguf': check the path"):
        answer(path, lora=tmp_path / "missing.gguf")
    wrong = [
        (path, "expect general.type to be 'adapter'"),
        (lora_gguf(tmp_path / "gemma.gguf", architecture="gemma3"), "arch mismatch"),
        (lora_gguf(tmp_path / "large.gguf", embedding=64), "shape"),
    ]
    for file, reason in wrong:
        with pytest.raises(SettingsError, match=rf"lora=.*cannot be used with .*{reason}.*give a GGUF file of a LoRA"):
            answer(path, lora=file)
