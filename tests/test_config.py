"""The arguments of a nudger, and the configuration of each model that is made from them."""

from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from nudging import Nudger, SettingsError, load_model
from nudging.answer import Author
from nudging.config import NudgerConfig
from nudging.models.config import ModelConfig
from nudging.models.scripted import ScriptedModel
from pydantic import SecretStr, ValidationError

SHARED = {"timeout", "max_retries"}
"""The options of a model that both models of a pair have in common."""

AUTHORS: tuple[Author, Author] = ("base", "nudging")
URL = "http://localhost:8000/v1"
KEY = "sk-very-secret"


def config_of(author: Author, **options: Any) -> ModelConfig:
    return NudgerConfig(**{"base_model": "a", "nudging_model": "b"} | options).config_of(author)


def test_every_option_of_a_model_can_be_given_per_side_or_is_shared() -> None:
    fields = NudgerConfig.model_fields
    for name, field in ModelConfig.model_fields.items():
        sides = [name] if name in SHARED else [f"{author}_{name}" for author in AUTHORS]
        for side in sides:
            assert side in fields
            assert fields[side].annotation == field.annotation
            assert fields[side].default == field.default


def test_a_nudger_shows_its_fields_as_arguments() -> None:
    assert set(NudgerConfig.model_fields) <= set(signature(Nudger).parameters)


@pytest.mark.parametrize(
    ("options", "base", "nudging"),
    [
        ({}, {"model": "a"}, {"model": "b"}),
        ({"dtype": "float16"}, {"dtype": "float16"}, {"dtype": "float16"}),
        ({"dtype": "float16", "base_dtype": "bfloat16"}, {"dtype": "bfloat16"}, {"dtype": "float16"}),
        ({"base_dtype": "bfloat16"}, {"dtype": "bfloat16"}, {"dtype": None}),
        ({"nudging_device": "cuda"}, {"device": None}, {"device": "cuda"}),
        ({"device": "cpu", "nudging_device": "cuda"}, {"device": "cpu"}, {"device": "cuda"}),
        (
            {"base_device": "cuda", "device_map": "auto"},  # the base model's own device replaces the shared map
            {"device": "cuda", "device_map": None},
            {"device": None, "device_map": "auto"},
        ),
        (
            {"nudging_device_map": {"": 0}, "device": "cpu"},
            {"device": "cpu", "device_map": None},
            {"device": None, "device_map": {"": 0}},
        ),
        ({"base_url": URL + "/"}, {"url": URL}, {"url": None}),
        (
            {"nudging_url": URL, "nudging_tokenizer": "t", "nudging_api_key": SecretStr(KEY)},
            {"url": None, "tokenizer": None, "api_key": None},
            {"url": URL, "tokenizer": "t", "api_key": SecretStr(KEY)},
        ),
        ({"base_revision": "r", "nudging_template": "x"}, {"revision": "r", "template": None}, {"template": "x"}),
        ({"timeout": 5.0, "max_retries": 0}, {"timeout": 5.0, "max_retries": 0}, {"timeout": 5.0, "max_retries": 0}),
    ],
)
def test_the_option_of_a_side_beats_the_shared_one(
    options: dict[str, Any], base: dict[str, Any], nudging: dict[str, Any]
) -> None:
    for author, expected in zip(AUTHORS, (base, nudging), strict=True):
        config = config_of(author, **options)
        assert {name: getattr(config, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cpu", "device_map": "auto"}, "device='cpu' and device_map='auto' exclude each other"),
        ({"base_device": "cpu", "base_device_map": "auto"}, "device='cpu' and device_map='auto' exclude each other"),
        ({"base_tokenizer": "t"}, "base_tokenizer='t' is for a model on a server: give base_url"),
        ({"base_url": "localhost:8000"}, "base_url='localhost:8000'"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        config_of("base", **options)
    with pytest.raises(SettingsError, match=message):
        Nudger("a", "b", **options)


def test_the_conflict_of_one_side_does_not_concern_the_other() -> None:
    options = {"base_device": "cpu", "base_device_map": "auto"}
    assert config_of("nudging", **options).device is None


@pytest.mark.parametrize("author", AUTHORS)
def test_the_error_for_an_unknown_option_lists_the_known_ones(author: Author) -> None:
    with pytest.raises(SettingsError, match="no setting 'quantization'") as raised:
        load_model("a", author=author, quantization="int4")
    assert all(name in str(raised.value) for name in ModelConfig.model_fields)
    with pytest.raises(SettingsError, match=f"no setting '{author}_quantization'") as raised:
        Nudger("a", "b", **{f"{author}_quantization": "int4"})
    assert all(name in str(raised.value) for name in NudgerConfig.model_fields)


@pytest.mark.parametrize("url", [f"http://user:{KEY}@host/v1", f"https://{KEY}@host/v1", f"ftp://user:{KEY}@host/v1"])
def test_a_password_in_a_url_is_refused_and_never_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="base_url: leave the password out of the URL") as raised:
        Nudger("a", "b", base_url=url)
    assert KEY not in str(raised.value)
    assert KEY not in repr(raised.value.__cause__) + repr(raised.value.__context__)


def test_an_api_key_is_never_shown() -> None:
    nudger = Nudger("a", "b", base_url=URL, base_api_key=KEY, nudging_url=URL, nudging_api_key=SecretStr(KEY))
    config = config_of("base", base_url=URL, base_api_key=SecretStr(KEY))
    for shown in (
        nudger,
        nudger.identity,
        nudger.base_model,
        config,
        config.identity,
        config.model_dump(),
        vars(nudger),
    ):
        assert KEY not in repr(shown)
        assert KEY not in str(shown)
    assert config.api_key is not None
    assert config.api_key.get_secret_value() == KEY


@pytest.mark.parametrize("wrong", [[KEY], {"key": KEY}, KEY.encode()])
def test_an_api_key_of_a_wrong_type_is_refused_and_never_shown(wrong: Any) -> None:
    with pytest.raises(SettingsError, match="base_api_key") as raised:
        Nudger("a", "b", base_url=URL, base_api_key=wrong)
    assert KEY not in str(raised.value)
    assert KEY not in repr(raised.value.__cause__) + repr(raised.value.__context__)


@pytest.mark.parametrize(
    ("name", "options", "backend"),
    [
        ("a", {}, "transformers"),
        ("a.gguf", {}, "llamacpp"),
        ("owner/name:a.GGUF", {}, "llamacpp"),
        ("a.gguf", {"backend": "transformers"}, "transformers"),
        ("a.gguf", {"url": URL}, None),
    ],
)
def test_the_name_of_a_model_chooses_its_backend(name: str, options: dict[str, Any], backend: str | None) -> None:
    assert ModelConfig(model=name, **options).backend_in_use == backend


def test_gguf_files_run_on_transformers_if_llama_cpp_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = lambda name: None if name == "llama_cpp" else find_spec(name)  # noqa: E731
    monkeypatch.setattr("nudging.models.config.find_spec", found)
    assert ModelConfig(model="a.gguf").backend_in_use == "transformers"


@pytest.mark.parametrize(
    ("options", "base", "nudging"),
    [
        ({"n_ctx": 64}, {"n_ctx": 64}, {"n_ctx": 64}),
        ({"n_ctx": 64, "base_n_ctx": 32}, {"n_ctx": 32}, {"n_ctx": 64}),
        ({"nudging_n_threads": 1}, {"n_threads": None}, {"n_threads": 1}),
        ({"n_gpu_layers": -1}, {"n_gpu_layers": -1}, {"n_gpu_layers": -1}),
        ({"base_lora": "l.gguf"}, {"lora": "l.gguf"}, {"lora": None}),
        ({"nudging_backend": "transformers"}, {"backend": None}, {"backend": "transformers"}),
    ],
)
def test_the_options_of_llama_cpp_are_given_per_side_or_shared(
    options: dict[str, Any], base: dict[str, Any], nudging: dict[str, Any]
) -> None:
    for author, expected in zip(AUTHORS, (base, nudging), strict=True):
        config = config_of(author, **{"base_model": "a.gguf", "nudging_model": "b.gguf"} | options)
        assert {name: getattr(config, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_backend": "llamacpp"}, "base_backend='llamacpp' runs GGUF files, and 'a' is none"),
        ({"base_n_ctx": 8}, "base_n_ctx=8 is for llamacpp, and 'a' runs on transformers"),
        ({"base_lora": "l.gguf"}, "base_lora='l.gguf' is for llamacpp"),
        ({"base_model": "a.gguf", "base_dtype": "float16"}, "base_dtype='float16' is for transformers, and 'a.gguf'"),
        ({"base_model": "a.gguf", "base_device": "cpu"}, "base_device='cpu' is for transformers"),
        ({"base_model": "a.gguf", "base_n_ctx": 0}, "base_n_ctx"),
        ({"base_model": "a.gguf", "base_n_threads": 0}, "base_n_threads"),
        ({"base_model": "a.gguf", "base_backend": "ggml"}, "base_backend"),
    ],
)
def test_an_option_of_another_backend_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Nudger(**{"base_model": "a", "nudging_model": "b"} | options)


def test_what_changes_an_answer_of_llama_cpp_is_in_the_identity() -> None:
    plain = ModelConfig(model="a.gguf").identity
    assert plain["backend"] == "llamacpp"
    for option in ({"n_ctx": 8}, {"lora": "l.gguf"}, {"lora": {"l.gguf": 0.5}}, {"backend": "transformers"}):
        assert ModelConfig(model="a.gguf", **option).identity != plain  # type: ignore[arg-type]
    assert ModelConfig(model="a.gguf", n_threads=1).identity == plain


def test_equal_options_share_a_model_of_llama_cpp() -> None:
    assert load_model("a.gguf", n_ctx=8) is load_model("a.gguf", n_ctx=8, n_threads=1)
    assert load_model("a.gguf", n_ctx=8) is not load_model("a.gguf", n_ctx=9)


# model_kwargs and adapter


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, None),
        ({}, None),
        ("{}", None),
        ({"attn_implementation": "eager"}, {"attn_implementation": "eager"}),
        ('{"attn_implementation": "eager"}', {"attn_implementation": "eager"}),
        ('{"max_memory": {"0": "1GiB", "cpu": "2GiB"}}', {"max_memory": {0: "1GiB", "cpu": "2GiB"}}),
        ({"token": KEY}, {"token": SecretStr(KEY)}),
        ({"token": True}, {"token": True}),
    ],
)
def test_arguments_of_from_pretrained_are_given_as_an_object_or_as_json(given: Any, kept: Any) -> None:
    assert config_of("base", base_model_kwargs=given).model_kwargs == kept
    assert ModelConfig(model="a", model_kwargs=given).model_kwargs == kept
    assert config_of("nudging", base_model_kwargs=given).model_kwargs is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dtype": "float16"}, "dtype is not one of them: give it as base_dtype"),
        ({"torch_dtype": "float16"}, "torch_dtype is not one of them: give it as base_dtype"),
        ({"device_map": "auto"}, "device_map is not one of them: give it as base_device_map"),
        ({"revision": "main"}, "revision is not one of them: give it as base_revision"),
        ({"gguf_file": "a.gguf"}, "give base_model a GGUF file"),
        ({"load_in_4bit": True}, 'write {"quantization_config": {"load_in_4bit": true}}'),
        ({"config": None}, "config is not one of them"),
        ({1: 2}, "not an object"),
        ([1], "not an object"),
        ("[1]", "not an object"),
        ("attn_implementation=eager", "not JSON"),
        ('{"token": ', "not JSON"),
    ],
)
def test_other_arguments_are_refused_by_the_name_of_their_option(given: Any, message: str) -> None:
    with_token = {"token": KEY, **given} if isinstance(given, dict) else given
    with pytest.raises(SettingsError, match=r"^base_model_kwargs: ") as raised:
        Nudger("a", "b", base_model_kwargs=with_token)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert KEY not in str(raised.value) + repr(raised.value.__cause__) + repr(raised.value.__context__)


@pytest.mark.parametrize("given", [{"token": KEY}, f'{{"token": "{KEY}"}}', f'{{"token": "{KEY}', [KEY]])
@pytest.mark.parametrize("wrong", [{"threshold": 7}, {"nudging_model": None}, {"base_model_kwargs": None}])
def test_an_access_token_is_never_in_an_error_of_pydantic(given: Any, wrong: dict[str, Any]) -> None:
    values = {
        "base_model": "a",
        "nudging_model": "b",
        "nudging_model_kwargs": given,
        "base_model_kwargs": given,
    } | wrong
    if wrong == {"nudging_model": None}:
        del values["nudging_model"]
    with pytest.raises(ValidationError) as raised:
        NudgerConfig(**{**values, "seed": -1})
    assert KEY not in str(raised.value) + repr(raised.value) + repr(raised.value.errors())


def test_an_access_token_is_never_shown_and_not_written(tmp_path: Path) -> None:
    arguments = {"token": KEY, "attn_implementation": "eager"}
    config = NudgerConfig(base_model="a", nudging_model="b", base_model_kwargs=arguments)
    nudger = Nudger("a", "b", base_model_kwargs=arguments)
    side = config.config_of("base")
    config.write_config(tmp_path / "config.json")
    for shown in (
        *(config, config.model_dump(), config.model_dump_json(), vars(config), config.model_copy()),
        *(nudger, vars(nudger), nudger.identity, nudger.base_model, nudger.base_model.identity),
        *(side, side.identity, side.model_dump(), vars(side)),
        (tmp_path / "config.json").read_text(),
    ):
        assert KEY not in repr(shown) + str(shown)
    assert side.model_kwargs is not None
    assert side.model_kwargs["token"].get_secret_value() == KEY
    assert config.model_copy().config_of("base").model_kwargs == side.model_kwargs


def test_an_access_token_is_not_part_of_the_identity_and_the_rest_is() -> None:
    def identity(**options: Any) -> str:
        return repr(ModelConfig(model="a", **options).identity)

    quantization = {"quantization_config": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}}
    turned = {"quantization_config": {"bnb_4bit_quant_type": "nf4", "load_in_4bit": True}, "token": KEY}
    assert identity(model_kwargs=quantization) == identity(model_kwargs=turned)
    assert identity(model_kwargs={}) == identity() == identity(model_kwargs={"token": KEY})
    different = [
        identity(),
        identity(model_kwargs=quantization),
        identity(model_kwargs={"quantization_config": {"load_in_8bit": True}}),
        identity(adapter="x"),
        identity(adapter="y"),
    ]
    assert len(set(different)) == len(different)


def test_a_config_file_keeps_a_quantization_and_an_adapter(tmp_path: Path) -> None:
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype="bfloat16")
    arguments = {"quantization_config": config, "token": KEY, "cache_dir": tmp_path}
    options = {"base_model_kwargs": arguments, "nudging_adapter": tmp_path / "lora"}
    written = NudgerConfig(base_model="a", nudging_model="b", **options)
    written.write_config(tmp_path / "config.json")
    read = NudgerConfig.from_config(tmp_path / "config.json")
    assert read.nudging_adapter == str(tmp_path / "lora")
    assert read.base_model_kwargs == {"cache_dir": str(tmp_path), "quantization_config": config.to_dict()}
    for author in AUTHORS:
        assert repr(read.config_of(author).identity) == repr(written.config_of(author).identity)
    assert BitsAndBytesConfig.from_dict(read.base_model_kwargs["quantization_config"]).to_dict() == config.to_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_model": "a.gguf", "base_adapter": "x"}, "base_adapter='x' .* as base_lora"),
        ({"base_adapter": "x.gguf"}, r"base_adapter='x\.gguf' .* as base_lora"),
        ({"base_model": "a.gguf", "base_model_kwargs": {"token": KEY}}, "base_model_kwargs=.* is for transformers"),
        ({"base_url": URL, "base_adapter": "x"}, "base_adapter='x' is for a model that is loaded here"),
        ({"base_url": URL, "base_model_kwargs": {"token": KEY}}, "base_model_kwargs is for a model that is loaded"),
        ({"base_url": URL, "base_lora": "x"}, "base_lora='x' is for a model that is loaded here"),
        ({"base_model": ScriptedModel({}), "base_adapter": "x"}, "base_adapter='x' .* is a ScriptedModel"),
    ],
)
def test_an_adapter_or_an_argument_that_would_be_ignored_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as raised:
        Nudger(**{"base_model": "a", "nudging_model": "b"} | options)
    assert KEY not in str(raised.value)
