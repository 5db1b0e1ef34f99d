"""The diagnosis of a pair, on models of all kinds and in all states."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFWriter
from nudging.diagnosis import Finding, diagnose_pair, fit
from nudging.diagnosis.memory import RAM, Memory
from standin import StandIn, standing_in
from tiny import tiny_llama, tiny_mamba
from tiny_gguf import jamba_gguf, llama_gguf


def found(**options: Any) -> dict[str, Finding]:
    """Return the findings on a pair by their names; those under the models' lines with the model's name before."""
    findings: dict[str, Finding] = {}
    model = ""
    for finding in diagnose_pair(
        {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    ):
        if finding.name.endswith("model"):
            model = finding.name.partition(" ")[0]
        name = f"{model}{finding.name[1:]}" if finding.name.startswith(" ") else finding.name
        findings[name] = finding
    return findings


def test_a_pair_in_transformers(tiny_base: Path, tiny_nudging: Path) -> None:
    lines = found(base_model=tiny_base, nudging_model=tiny_nudging)
    assert {finding.status for finding in lines.values()} == {"ok"}
    assert lines["base model"].text == f"{tiny_base} is a folder"
    assert lines["nudging weights"].text.startswith("LlamaForCausalLM, 0.0")
    assert "in float32, transformers on cpu" in lines["base weights"].text
    assert lines["base context"].data["context"] == 512
    assert lines["base template"].text == "plain text, one message per line"
    assert lines["nudging template"].text == "the model's own chat template"
    assert lines["threshold"].text.startswith("0.4 (the default")


def test_the_parameters_and_the_kv_cache_are_those_of_the_loaded_model(tiny_base: Path, tiny_nudging: Path) -> None:
    from nudging.diagnosis.checkpoint import read_checkpoint
    from nudging.models.config import ModelConfig
    from transformers import AutoModelForCausalLM, DynamicCache

    for folder in (tiny_base, tiny_nudging):
        facts = read_checkpoint(ModelConfig(model=folder))
        model = AutoModelForCausalLM.from_pretrained(folder)
        cache = DynamicCache()
        model(input_ids=model.dummy_inputs["input_ids"][:1, :3], past_key_values=cache)
        measured = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
        assert facts.cache == measured / 3
        assert facts.parameters == model.num_parameters()
        assert facts.weights == 4 * model.num_parameters()


def test_the_demo_pair_stands_for_models_that_are_not_given(pair: tuple[Path, Path]) -> None:
    lines = found(dtype="bfloat16")
    assert "268M parameters, 536 MB in bfloat16" in lines["base weights"].text
    assert "134M parameters" in lines["nudging weights"].text or "135M parameters" in lines["nudging weights"].text
    assert lines["together"].status == "ok"


def test_the_demo_pair_in_llamacpp() -> None:
    lines = found(base_backend="llamacpp", nudging_backend="llamacpp")
    assert lines["base weights"].text == "gemma3, 268M parameters, 247 MB in Q4_K - Medium, llama.cpp on cpu"
    assert lines["base context"].data == {"context": 32768, "cache_per_token": 18 * 512 * 2}
    assert lines["nudging template"].status == "ok"


def test_a_demo_pair_that_is_not_converted_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUDGING_CACHE", str(tmp_path))
    lines = found(threshold=0.3)
    assert lines["base model"].status == "note"
    assert "not converted yet" in lines["nudging model"].text


def no_causal_attention(writer: GGUFWriter) -> None:
    writer.add_causal_attention(False)


def test_gguf_files_in_llamacpp(tmp_path: Path) -> None:
    lines = found(base_model=llama_gguf(tmp_path / "a.gguf"), nudging_model=jamba_gguf(tmp_path / "b.gguf"))
    assert not [finding for finding in lines.values() if finding.status == "fail"]
    # 2 layers, 1 head of 16 for keys and values, 2 bytes
    assert lines["base context"].data == {"context": 512, "cache_per_token": 2 * 2 * 16 * 2}
    assert lines["nudging context"].data["cache_per_token"] is None


@pytest.mark.parametrize("backend", ["llamacpp", "transformers"])
def test_a_gguf_file_that_is_cut_short(tmp_path: Path, backend: str) -> None:
    whole = llama_gguf(tmp_path / "whole.gguf")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    lines = found(base_model=cut, base_backend=backend, nudging_model=whole)
    assert lines["base model"].status == "fail"
    assert "is damaged or cut short" in lines["base model"].text
    assert lines["nudging model"].status == "ok"


def test_gguf_files_that_cannot_be_used(tmp_path: Path) -> None:
    no_text, other = tmp_path / "text.gguf", tmp_path / "embedding.gguf"
    no_text.write_text("version https://git-lfs.github.com/spec/v1")
    lines = found(base_model=no_text, nudging_model=llama_gguf(other, edit=no_causal_attention))
    assert "is not a GGUF file" in lines["base model"].text
    assert "does not write text from left to right" in lines["nudging model"].text


def test_a_gguf_file_in_transformers_is_converted_first(tmp_path: Path) -> None:
    file = llama_gguf(tmp_path / "a.gguf", templates=None)
    lines = found(base_model=file, nudging_model=file, base_backend="transformers", nudging_backend="transformers")
    assert lines["base model"].status == "note"
    assert "pip install 'nudging[llamacpp]'" in lines["base model"].text
    assert lines["nudging template"].status == "fail"
    in_llamacpp = found(base_model=file, nudging_model=file)
    assert in_llamacpp["base weights"].data == lines["base weights"].data
    assert in_llamacpp["base context"].data["cache_per_token"] * 2 == lines["base context"].data["cache_per_token"]


def test_a_nudging_model_without_a_chat_template(tmp_path: Path, tiny_base: Path) -> None:
    plain = tiny_llama(tmp_path / "plain", chat=False)
    lines = found(base_model=tiny_base, nudging_model=plain)
    assert lines["nudging model"].status == "ok"
    assert lines["nudging template"].status == "fail"
    assert "has no chat template: pass nudging_template=" in lines["nudging template"].text
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    assert (
        found(base_model=tiny_base, nudging_model=plain, nudging_template=template)["nudging template"].status == "ok"
    )
    broken = found(base_model=tiny_base, nudging_model=plain, base_template="{{ x", nudging_template=template)
    assert "the base template fails" in broken["base template"].text


def test_models_that_do_not_write(tmp_path: Path) -> None:
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    config = {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 32, "num_attention_heads": 2}
    (encoder / "config.json").write_text(json.dumps(config))
    lines = found(base_model=tiny_mamba(tmp_path / "mamba"), nudging_model=encoder)
    assert "was not trained to write text" in lines["nudging model"].text
    (encoder / "config.json").write_text('{"model_type": "t5"}')
    assert "t5 is an encoder-decoder" in found(base_model=encoder, nudging_model=encoder)["base model"].text


def test_a_recurrent_model_has_no_kv_cache(tmp_path: Path) -> None:
    lines = found(base_model=tiny_mamba(tmp_path), nudging_model=tmp_path)
    assert lines["base model"].status == "ok"
    assert "KV cache" not in str([line.text for line in lines.values()])


def test_folders_without_a_model(tmp_path: Path, tiny_nudging: Path) -> None:
    (tmp_path / "empty").mkdir()
    lines = found(base_model=tmp_path / "empty", nudging_model=tmp_path / "none")
    assert "cannot load" in lines["base model"].text
    assert "there is no folder" in lines["nudging model"].text
    partial = tmp_path / "partial"
    partial.mkdir()
    (partial / "config.json").write_text((tiny_nudging / "config.json").read_text())
    assert (
        "lacks its weights (model.safetensors)" in found(base_model=partial, nudging_model=partial)["base model"].text
    )
    data = (tiny_nudging / "model.safetensors").read_bytes()
    (partial / "model.safetensors").write_bytes(data[: len(data) // 2])
    assert "cannot load" in found(base_model=partial, nudging_model=partial)["base model"].text


def llama_70b(folder: Path, tokenizer: Path, missing: bool = False) -> Path:
    """Write a folder with the config, the index and empty weights of Llama 3 70B."""
    folder.mkdir()
    config = {
        **{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "dtype": "bfloat16", "vocab_size": 128256},
        **{"hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8},
        **{"intermediate_size": 28672, "max_position_embeddings": 131072},
    }
    (folder / "config.json").write_text(json.dumps(config))
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    weights = {f"layer{number}": name for number, name in enumerate(names)}
    index = {"metadata": {"total_size": 141_107_412_992}, "weight_map": weights}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in names[:1] if missing else names:
        (folder / name).write_bytes((2).to_bytes(8, "little") + b"{}")
    for file in tokenizer.glob("tokenizer*"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_a_pair_that_is_too_large(tmp_path: Path, tiny_nudging: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nudging.diagnosis.pair.memory_by_device", lambda: {RAM: Memory(64 * 10**9, 50 * 10**9)})
    lines = found(base_model=llama_70b(tmp_path / "Llama-2-70b", tiny_nudging), nudging_model=tiny_nudging)
    assert "LlamaForCausalLM, 70.6B parameters, 282.2 GB in float32" in lines["base weights"].text
    assert "KV cache 2.7 GB for 4,096 tokens, 85.9 GB for all" in lines["base context"].text
    assert lines["together"].status == "fail"
    assert lines["together"].text == (
        "does not fit: 284.9 GB needed for 4,096 tokens, 50.0 GB free. For the base model, try --base-dtype bfloat16 "
        "(141.1 GB), a GGUF file of it with 4 bits (42.3 GB), a smaller model or a server (--base-url)"
    )
    assert lines["threshold"].text == "0.4 (the paper's for Llama-2)"


def test_weights_that_are_only_partly_there(tmp_path: Path, tiny_nudging: Path) -> None:
    lines = found(base_model=llama_70b(tmp_path / "x", tiny_nudging, missing=True), nudging_model=tiny_nudging)
    assert "lacks 1 of 2 files of its weights (model-00002-of-00002.safetensors" in lines["base model"].text
    assert lines["together"].status == "note"


def test_a_whole_context_that_is_too_large_is_a_note(
    tiny_base: Path, tiny_nudging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = found(base_model=tiny_base, nudging_model=tiny_nudging)["together"]
    needed = sum(short.data.values())
    monkeypatch.setattr(fit, "TOKENS", 8)
    monkeypatch.setattr("nudging.diagnosis.pair.memory_by_device", lambda: {RAM: Memory(needed, needed - 1)})
    together = found(base_model=tiny_base, nudging_model=tiny_nudging)["together"]
    assert together.status == "note"
    assert "keep conversations shorter" in together.text


def test_ids_that_are_not_in_the_cache_of_the_hub(tmp_path: Path) -> None:
    lines = found(base_model="some/model", nudging_model="some/model:chat.gguf")
    for finding in (lines["base model"], lines["nudging model"]):
        assert finding.status == "fail"
        assert "is not in the hub's cache, and HF_HUB_OFFLINE=1" in finding.text


class Hub:
    """The hub, as `HfApi` describes a model."""

    def model_info(self, repository: str, **options: Any) -> Any:
        from huggingface_hub.hf_api import ModelInfo

        return ModelInfo(
            id=repository,
            gated="manual",
            config={"architectures": ["Gemma2ForCausalLM"]},
            safetensors={"parameters": {"BF16": 2_000_000_000}, "total": 2_000_000_000},
            siblings=[
                {"rfilename": "model.safetensors", "size": 4_000_000_000},
                {"rfilename": "q4.gguf", "size": 1_500_000_000},
            ],
        )


def test_ids_that_are_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    lines = found(base_model="google/gemma-2-2b", nudging_model="some/model:q4.gguf")
    assert lines["base model"].status == "note"
    assert "terms to accept" in lines["base model"].text
    assert "4.0 GB to download" in lines["base model"].text
    assert "Gemma2ForCausalLM, 2.0B parameters, 8.0 GB in float32" in lines["base weights"].text
    assert "1.5 GB to download" in lines["nudging model"].text
    assert "checked once the model is downloaded" in lines["nudging template"].text
    assert lines["threshold"].text == "0.3 (the paper's for Gemma-2)"


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    lines = found(base_model="some/model", nudging_model="some/model:chat.gguf")
    assert "the hub cannot be reached" in lines["base model"].text  # the tests open no sockets


def test_an_id_in_the_cache_of_the_hub(tmp_path: Path, tiny_nudging: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0" * 40
    repository = tmp_path / "models--some--model"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "snapshots" / commit).symlink_to(tiny_nudging)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    lines = found(base_model="some/model", nudging_model="some/model")
    assert lines["base model"].text == "some/model is in the hub's cache"
    assert lines["nudging template"].status == "ok"


def test_options_that_do_not_fit_together(tiny_nudging: Path) -> None:
    assert "threshold=7" in found(threshold=7)["options"].text
    assert found(base_url="http://localhost:1/v1")["options"].text.startswith("--base-url needs --base-model")
    assert "gpu" in found(base_model=tiny_nudging, nudging_model=tiny_nudging, device="gpu")["base model"].text


@pytest.fixture
def servers(tiny_base: Path, tiny_nudging: Path) -> Iterator[tuple[StandIn, StandIn]]:
    with standing_in(tiny_base, name="base") as base, standing_in(tiny_nudging, name="nudging") as nudging:
        yield base, nudging


@pytest.mark.enable_socket
def test_models_on_servers(servers: tuple[StandIn, StandIn]) -> None:
    base, nudging = servers
    urls = {"base_url": base.url, "nudging_url": nudging.url}
    lines = found(base_model="base", nudging_model="nudging", **urls)
    assert not [finding for finding in lines.values() if finding.status == "fail"]
    assert lines["base model"].text == f"base is served by vLLM at {base.url}"
    assert lines["together"].text == "no memory of this machine is needed"
    assert not base.requests
    other = found(base_model="other", nudging_model="nudging", **urls)
    assert "has no model 'other': it serves 'base'" in other["base model"].text
    nudging.tokenizes = False
    assert "has no /tokenize" in found(base_model="base", nudging_model="nudging", **urls)["nudging model"].text


@pytest.mark.enable_socket
def test_servers_that_do_not_answer() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        urls = {"base_url": f"http://127.0.0.1:{silent.getsockname()[1]}/v1", "nudging_url": "http://127.0.0.1:1/v1"}
        lines = found(base_model="a", nudging_model="b", timeout=0.2, **urls)
    assert "timed out" in lines["base model"].text
    assert "Connection error" in lines["nudging model"].text


def test_an_unexpected_error_of_a_library_is_a_line(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("bad file")

    monkeypatch.setattr("nudging.diagnosis.checkpoint.weight_files", fail)
    lines = found(base_model=tiny_base, nudging_model=tiny_base)
    assert "cannot be examined (ZeroDivisionError: bad file)" in lines["base model"].text
