"""Models are loaded as users of transformers load them: their own arguments, quantization and adapters."""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from families import verdicts
from families.naive import NaiveTokens, naive_tokens
from families.small_models import small_folder
from langchain_core.callbacks import BaseCallbackHandler
from nudging import MissingDependencyError, ModelNotFoundError, Nudger, SettingsError, UnsupportedModelError, load_model
from nudging.models.local.cpu_weights import PackedLinear
from nudging.models.local.model import LocalModel
from nudging.models.local.state import LayeredState
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

TOKEN = "hf_very_secret"  # noqa: S105


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that is sure of its tokens."""
    return small_folder("llama", tmp_path_factory.mktemp("small") / "llama")


@pytest.fixture(scope="module")
def plain(llama: Path) -> NaiveTokens:
    """The tokens of the small model, without a cache."""
    return naive_tokens(AutoModelForCausalLM.from_pretrained(llama), verdicts.PROMPT, verdicts.WRITTEN)


def checked(model: LocalModel, judge: Any = None) -> NaiveTokens:
    """Check greedy tokens, with drafts and after going back, against a decoder without a cache. Return its tokens.

    Args:
        model: The model.
        judge: The weights of that decoder, by default those of the model.
    """
    weights: Any = judge or model.weights.load()
    prompts = (verdicts.PROMPT, verdicts.OTHER)
    texts = {tuple(prompt): naive_tokens(weights, prompt, verdicts.WRITTEN) for prompt in prompts}
    for what, prompt, tokens in verdicts._decoded(model, texts):
        assert verdicts._agree(texts[tuple(prompt)], tokens), what
    return texts[tuple(verdicts.PROMPT)]


def parts(model: LocalModel, kind: type) -> list[torch.nn.Module]:
    return [module for module in model.weights.load().modules() if isinstance(module, kind)]


# arguments of from_pretrained


def test_an_argument_reaches_from_pretrained(llama: Path, plain: NaiveTokens) -> None:
    model = LocalModel(llama, model_kwargs={"attn_implementation": "eager"})
    assert checked(model).tokens == plain.tokens
    assert model.weights.load().config._attn_implementation == "eager"
    assert not model.weights.can_batch
    assert LocalModel(llama).weights.can_batch


def test_an_argument_changes_a_field_of_the_config_before_weights_are_loaded(llama: Path) -> None:
    model = LocalModel(llama, model_kwargs={"max_position_embeddings": 77})
    assert model.context_length == 77
    assert model.weights.load().config.max_position_embeddings == 77


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"load_in_3bit": True}, "unexpected keyword argument 'load_in_3bit'"),
        ({"attn_implementation": "warp"}, "warp"),
        ({"max_position_embeddings": "many"}, "max_position_embeddings"),
        ({"quantization_config": {"bits": 4}}, "has no `quant_method`"),
        ({"quantization_config": 4}, "quantization_config"),
    ],
)
def test_a_wrong_argument_is_one_clear_error(llama: Path, arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError, match=f"model_kwargs {next(iter(arguments))}: ") as raised:
        LocalModel(llama, model_kwargs={"token": TOKEN, **arguments}).load()
    assert reason in str(raised.value)
    assert TOKEN not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_model_is_not_blamed_on_the_arguments(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="there is no folder"):
        LocalModel(tmp_path / "nothing", model_kwargs={"attn_implementation": "eager"}).load()


def test_config_tokenizer_and_weights_get_the_arguments_that_say_where_files_are(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: dict[str, dict[str, Any]] = {}
    for one in (AutoConfig, AutoTokenizer, AutoModelForCausalLM):
        monkeypatch.setattr(one, "from_pretrained", _recording(one.__name__, one.from_pretrained, received))
    where = {"token": TOKEN, "cache_dir": str(tmp_path), "local_files_only": True}
    Nudger(llama, llama, base_model_kwargs=where).base_model.load()
    assert set(received) == {"AutoConfig", "AutoTokenizer", "AutoModelForCausalLM"}
    for arguments in received.values():
        assert where.items() <= arguments.items()
        assert arguments["trust_remote_code"] is False


def _recording(name: str, function: Callable[..., Any], received: dict[str, dict[str, Any]]) -> Callable[..., Any]:
    def recording(*args: Any, **kwargs: Any) -> Any:
        received.setdefault(name, kwargs)
        return function(*args, **kwargs)

    return recording


def test_a_model_in_a_subfolder(llama: Path, plain: NaiveTokens, tmp_path: Path) -> None:
    shutil.copytree(llama, tmp_path / "steps" / "100")
    model = LocalModel(tmp_path, model_kwargs={"subfolder": "steps/100"})
    assert checked(model).tokens == plain.tokens
    assert model.tokenizer.encode("the sun", special_tokens=False)
    with pytest.raises(ModelNotFoundError, match="cannot load"):
        LocalModel(tmp_path).load()


def test_code_of_the_model_runs_only_if_it_is_trusted(
    llama: Path, plain: NaiveTokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = _with_own_code(shutil.copytree(llama, tmp_path / "own"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("transformers asked on the terminal"))
    for arguments in ({}, {"attn_implementation": "eager"}):
        with pytest.raises(ModelNotFoundError, match='"trust_remote_code": true'):
            LocalModel(folder, model_kwargs=arguments).load()
    model = LocalModel(folder, model_kwargs={"trust_remote_code": True})
    assert checked(model).tokens == plain.tokens
    assert type(model.weights.load()).__name__ == "OwnForCausalLM"
    assert type(model.tokenizer.loaded).__name__ == "OwnTokenizer"


def _with_own_code(folder: Path) -> Path:
    """Let a model come with code: a config, a model and a tokenizer."""
    for kind, name, parent in (
        ("configuration", "OwnConfig", LlamaConfig),
        ("modeling", "OwnForCausalLM", LlamaForCausalLM),
        ("tokenization", "OwnTokenizer", PreTrainedTokenizerFast),
    ):
        body = {
            "configuration": '    model_type = "own"',
            "modeling": "    config_class = OwnConfig",
            "tokenization": "    pass",
        }[kind]
        imports = "from .configuration_own import OwnConfig\n" if kind == "modeling" else ""
        text = f"from transformers import {parent.__name__}\n{imports}\n\nclass {name}({parent.__name__}):\n{body}\n"
        (folder / f"{kind}_own.py").write_text(text)
    models = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    tokenizer = {"AutoTokenizer": [None, "tokenization_own.OwnTokenizer"]}
    _change(folder / "config.json", model_type="own", architectures=["OwnForCausalLM"], auto_map=models)
    _change(folder / "tokenizer_config.json", tokenizer_class="OwnTokenizer", auto_map=tokenizer)
    return folder


def _change(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def test_the_type_of_weights_and_their_place_are_chosen_per_side(llama: Path, plain: NaiveTokens) -> None:
    nudger = Nudger(llama, llama, base_dtype="bfloat16", nudging_device_map={"": "cpu"}, nudging_dtype="float32")
    base, nudging = nudger.base_model, nudger.nudging_model
    assert isinstance(base, LocalModel)
    assert isinstance(nudging, LocalModel)
    assert base.weights.load().dtype == torch.bfloat16
    assert parts(base, PackedLinear)
    assert checked(nudging).tokens == plain.tokens
    assert nudging.weights.load().dtype == torch.float32
    assert checked(LocalModel(llama, device_map="auto")).tokens == plain.tokens


# identity


def test_models_with_equal_arguments_are_shared_and_others_are_not(llama: Path) -> None:
    config = BitsAndBytesConfig(load_in_4bit=True)
    arguments = {"quantization_config": config, "attn_implementation": "eager"}
    backwards = {"attn_implementation": "eager", "quantization_config": config.to_dict()}
    assert load_model(llama, model_kwargs=arguments) is load_model(llama, model_kwargs=backwards)
    different = [
        {},
        {"model_kwargs": arguments},
        {"model_kwargs": {"attn_implementation": "eager"}},
        {"model_kwargs": {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}},
        {"adapter": "a"},
        {"adapter": "b"},
    ]
    models = [load_model(llama, **options) for options in different]  # type: ignore[arg-type]
    assert len(set(map(id, models))) == len(different)
    assert len({repr(model.identity) for model in models}) == len(different)
    assert load_model(llama, model_kwargs={}) is load_model(llama)


def test_the_identity_does_not_change_when_the_model_is_loaded(llama: Path) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    config = _torchao_config(torchao.Int8WeightOnlyConfig())
    model = LocalModel(llama, model_kwargs={"quantization_config": config})
    before = repr(model.identity)
    model.load()
    assert repr(model.identity) == before


def test_an_access_token_is_never_shown(llama: Path) -> None:
    from langchain_core.load import dumps

    import langchain_nudging
    import llamaindex_nudging

    arguments = {"base_model": str(llama), "nudging_model": str(llama), "base_model_kwargs": {"token": TOKEN}}
    model = LocalModel(llama, model_kwargs={"token": TOKEN})
    shown: list[Any] = [model, model.identity, model._options, Nudger(**arguments).base_model.identity]
    for kind in (langchain_nudging.ChatNudging, langchain_nudging.NudgingLLM):
        chat: Any = kind(**arguments)
        seen = _Callback()
        chat.invoke("the sun", {"callbacks": [seen]}, max_tokens=2)
        assert seen.started
        shown += [chat, dumps(chat), chat._identifying_params, chat._get_ls_params(), chat.model_dump(), seen.started]
    index: Any = llamaindex_nudging.NudgingLLM(**arguments)
    shown += [index, index.to_dict(), index.to_json(), index.model_dump(), index.metadata]
    for one in shown:
        assert TOKEN not in repr(one) + str(one)


# quantization


class _Callback(BaseCallbackHandler):
    """Keeps what LangChain tells callbacks and tracers about a model."""

    def __init__(self) -> None:
        self.started: list[Any] = []

    def on_llm_start(self, *args: Any, **kwargs: Any) -> None:
        self.started.append((args, kwargs))

    on_chat_model_start = on_llm_start


def _torchao_config(kind: Any) -> Any:
    from transformers import TorchAoConfig

    return TorchAoConfig(kind)


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_weights_are_quantized_by_torchao(llama: Path, tmp_path: Path, kind: str) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    quantized = {
        "int8": torchao.Int8WeightOnlyConfig,
        "int4": lambda: torchao.IntxWeightOnlyConfig(weight_dtype=torch.int4),
    }[kind]()
    config = _torchao_config(quantized)
    model = LocalModel(llama, model_kwargs={"quantization_config": config}, device="cpu")
    tokens = checked(model).tokens
    weights = model.weights.load()
    assert type(weights.model.layers[0].self_attn.q_proj.weight.data) is not torch.Tensor
    assert not parts(model, PackedLinear)
    assert model.weights.can_batch
    plain = LocalModel(llama, model_kwargs={"quantization_config": config.to_dict()})
    assert checked(plain).tokens == tokens

    folder = shutil.copytree(llama, tmp_path / "quantized")
    weights.save_pretrained(folder)
    saved = LocalModel(folder)
    assert checked(saved).tokens == tokens
    assert type(saved.weights.load().model.layers[0].self_attn.q_proj.weight.data) is not torch.Tensor
    again = LocalModel(folder, model_kwargs={"quantization_config": config.to_dict()})
    assert checked(again).tokens == tokens


def test_a_model_that_rounds_its_activations_too_has_a_cache(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    monkeypatch.setattr(verdicts, "NEAR_TIE", 0.05)  # 8 bits make small differences larger
    quantized = torchao.Int8DynamicActivationInt8WeightConfig()
    model = LocalModel(llama, model_kwargs={"quantization_config": _torchao_config(quantized)}, device="cpu")
    assert isinstance(model.weights.new_state(), LayeredState)
    checked(model)


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_are_quantized_by_bitsandbytes(llama: Path, bits: int) -> None:
    pytest.importorskip("bitsandbytes")
    # with a threshold, 8 bits treat a column otherwise if any token of a pass has an outlier there
    quantization = {f"load_in_{bits}bit": True, "llm_int8_threshold": 0.0}
    model = LocalModel(llama, model_kwargs={"quantization_config": quantization}, device="cpu")
    checked(model)
    layer = {4: "Linear4bit", 8: "Linear8bitLt"}[bits]
    assert type(model.weights.load().model.layers[0].self_attn.q_proj).__name__ == layer
    assert not parts(model, PackedLinear)


def test_a_checkpoint_of_compressed_tensors_is_loaded(llama: Path, plain: NaiveTokens, tmp_path: Path) -> None:
    pytest.importorskip("compressed_tensors")
    folder = shutil.copytree(llama, tmp_path / "compressed")
    tensors = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        if not name.endswith("_proj.weight"):
            tensors[name] = weight
            continue
        scale = weight.abs().amax(1, keepdim=True) / 127
        tensors |= {name: (weight / scale).round().to(torch.int8), f"{name}_scale": scale}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
    group = {"format": "int-quantized", "targets": ["Linear"], "weights": weights}
    quantization = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {"group_0": group},
    }
    _change(folder / "config.json", quantization_config=quantization)
    assert checked(LocalModel(folder)).tokens[0] == plain.tokens[0]  # 8 bits hardly change it


@pytest.mark.parametrize("threshold", [None, 0.0])
def test_the_log_says_that_outliers_of_bitsandbytes_depend_on_the_pass(
    llama: Path, threshold: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("bitsandbytes")
    given = {} if threshold is None else {"llm_int8_threshold": threshold}
    LocalModel(llama, model_kwargs={"quantization_config": {"load_in_8bit": True, **given}}, device="cpu").load()
    messages = [one.getMessage() for one in caplog.records if one.name == "nudging"]
    assert any('"llm_int8_threshold": 0.0' in one for one in messages) == (threshold is None)


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_a_checkpoint_of_gptq_or_awq_is_loaded(llama: Path, plain: NaiveTokens, tmp_path: Path, method: str) -> None:
    pytest.importorskip("gptqmodel")
    if method == "gptq":
        pytest.importorskip("optimum")
    group = 32
    folder = shutil.copytree(llama, tmp_path / method)
    tensors = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        if not name.endswith("_proj.weight"):
            tensors[name] = weight
            continue
        groups = weight.T.unflatten(0, (-1, group))  # [groups, group, out]
        scales = groups.abs().amax(1) / 7
        numbers = ((groups / scales[:, None]).round() + 8).flatten(0, 1)  # [in, out], in 1..15
        zeros = torch.full_like(scales, 8)
        part = name.removesuffix("weight")
        if method == "gptq":
            of_groups = torch.arange(len(numbers), dtype=torch.int32) // group
            packed = {"qweight": _packed(numbers.T).T, "qzeros": _packed(zeros - 1), "g_idx": of_groups}
        else:
            order = (0, 2, 4, 6, 1, 3, 5, 7)
            packed = {"qweight": _packed(numbers, order), "qzeros": _packed(zeros, order)}
        tensors |= {part + key: one.contiguous() for key, one in {**packed, "scales": scales.half()}.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    kind = {"desc_act": False, "sym": True} if method == "gptq" else {"zero_point": True, "version": "gemm"}
    _change(
        folder / "config.json",
        quantization_config={"quant_method": method, "bits": 4, "group_size": group, **kind},
    )
    assert checked(LocalModel(folder, device="cpu")).tokens[0] == plain.tokens[0]


def _packed(numbers: torch.Tensor, order: Sequence[int] = range(8)) -> torch.Tensor:
    """Return each eight numbers of a row as one, of 4 bits each. `order` has the place of the lowest bits first."""
    eights = numbers.to(torch.int64).unflatten(-1, (-1, 8))[..., list(order)]
    return (eights << torch.arange(0, 32, 4)).sum(-1).to(torch.int32)


@pytest.mark.parametrize(
    ("quantization", "package"),
    [
        ({"quant_method": "torchao", "quant_type": {"default": {}}}, "torchao"),
        ({"load_in_4bit": True}, "bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4}, "optimum"),
        ({"quant_method": "awq", "bits": 4}, "gptqmodel"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
        ({"quant_method": "hqq"}, "hqq"),
    ],
)
def test_a_missing_package_is_named(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantization: dict[str, Any], package: str
) -> None:
    monkeypatch.setattr("nudging.models.local.loading.find_spec", lambda name: None)
    folder = shutil.copytree(llama, tmp_path / "quantized")
    _change(folder / "config.json", quantization_config=quantization)
    for model in (LocalModel(llama, model_kwargs={"quantization_config": quantization}), LocalModel(folder)):
        with pytest.raises(MissingDependencyError, match=f"needs the package {package}: pip install {package}"):
            model.load()


def test_a_quantization_that_cannot_run_here_is_one_clear_error(llama: Path, tmp_path: Path) -> None:
    if torch.accelerator.is_available():
        pytest.skip("it can run here")
    folder = shutil.copytree(llama, tmp_path / "quantized")
    _change(folder / "config.json", quantization_config={"quant_method": "fbgemm_fp8"})
    with pytest.raises((UnsupportedModelError, MissingDependencyError), match="cannot be loaded"):
        LocalModel(folder).load()


# adapters


@pytest.fixture(scope="module")
def lora(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random adapter for all linear layers of the small model."""
    return _adapter(llama, tmp_path_factory.mktemp("adapter") / "lora", target_modules="all-linear")


def _adapter(model: Path, folder: Path, **options: Any) -> Path:
    peft = pytest.importorskip("peft")
    torch.manual_seed(1)
    config = peft.LoraConfig(r=4, init_lora_weights=False, task_type="CAUSAL_LM", **options)
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(model), config).save_pretrained(folder)
    return folder


def _with_peft(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(model, adapter).eval()


def test_an_adapter_is_merged(llama: Path, lora: Path, plain: NaiveTokens) -> None:
    model = Nudger(llama, llama, base_adapter=lora).base_model
    assert isinstance(model, LocalModel)
    tokens = checked(model, _with_peft(AutoModelForCausalLM.from_pretrained(llama), lora)).tokens
    assert tokens != plain.tokens
    assert model.weights.can_batch
    assert parts(model, PackedLinear)
    assert not [name for name, _ in model.weights.load().named_modules() if "lora" in name]


@pytest.mark.parametrize("device_map", ["cpu", "auto", {"": "cpu"}])
def test_an_adapter_and_a_device_map(llama: Path, lora: Path, device_map: Any) -> None:
    merged = checked(LocalModel(llama, adapter=str(lora))).tokens
    assert checked(LocalModel(llama, adapter=str(lora), device_map=device_map)).tokens == merged


def test_an_adapter_of_a_quantized_model_stays_beside_its_weights(llama: Path, lora: Path) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    config = _torchao_config(torchao.Int8WeightOnlyConfig())
    quantized = AutoModelForCausalLM.from_pretrained(llama, quantization_config=config)
    without = naive_tokens(quantized, verdicts.PROMPT, verdicts.WRITTEN)
    model = LocalModel(llama, model_kwargs={"quantization_config": config}, adapter=str(lora))
    assert checked(model, _with_peft(quantized, lora)).tokens != without.tokens
    assert [name for name, _ in model.weights.load().named_modules() if name.endswith("q_proj.lora_A")]
    assert not parts(model, PackedLinear)


def test_an_adapter_beside_the_weights_in_one_folder(llama: Path, lora: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(llama, tmp_path / "both")
    shutil.copytree(lora, folder, dirs_exist_ok=True)
    merged = checked(LocalModel(llama, adapter=str(lora))).tokens
    assert checked(LocalModel(folder)).tokens == merged


def test_a_wrong_adapter_is_one_clear_error(llama: Path, lora: Path, tmp_path: Path) -> None:
    from peft import PromptTuningConfig, get_peft_model  # the fixture skips the test without peft

    deep = small_folder("llama", tmp_path / "deep", num_hidden_layers=4)
    wide = small_folder("llama", tmp_path / "wide", hidden_size=32)
    mpt = small_folder("mpt", tmp_path / "mpt")
    prompt = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    get_peft_model(AutoModelForCausalLM.from_pretrained(llama), prompt).save_pretrained(tmp_path / "prompt")
    activated = _adapter(llama, tmp_path / "activated", target_modules=["q_proj"], alora_invocation_tokens=[1, 2])
    of_deep = _adapter(deep, tmp_path / "of_deep", target_modules="all-linear")
    for model, adapter, message in (
        (llama, tmp_path / "nothing", "cannot load the adapter .*nothing"),
        (llama, llama, "cannot load the adapter"),
        (mpt, lora, "does not fit .*mpt': Target modules"),
        (wide, lora, "does not fit .*wide': .*size"),
        (llama, of_deep, "does not fit .*llama': 28 of its weights are only in one of them"),
        (llama, tmp_path / "prompt", "is of type PROMPT_TUNING"),
        (llama, activated, "is of type aLoRA"),
    ):
        with pytest.raises((ModelNotFoundError, SettingsError), match=message) as raised:
            LocalModel(model, adapter=str(adapter)).load()
        assert "\n" not in str(raised.value)
        assert len(str(raised.value)) < 800


def test_a_model_that_is_an_adapter_is_refused(lora: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="is an adapter: give the model that it was made for"):
        LocalModel(lora).load()


def test_peft_is_named_if_it_is_missing(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'nudging\[peft\]'"):
        LocalModel(llama, adapter="some/adapter").load()
