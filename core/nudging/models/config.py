"""Where a model is and how it is loaded: the one declaration of these options.

`NudgerConfig` gives every option per side (`base_…`, `nudging_…`). A new option of a model is a field here, two
fields there, and the code of the kind of model that uses it.
"""

import json
from collections.abc import Mapping
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from nudging.errors import SettingsError
from nudging.models.base import Model
from nudging.models.gguf_files import is_gguf
from nudging.settings import SECRET

ModelName: TypeAlias = str | Path | Model
"""A hub id, a folder, a GGUF file (a path, or `repo:file.gguf` on the hub), a server's name, or a `Model`."""

Backend: TypeAlias = Literal["transformers", "llamacpp"]
"""The library that runs a model in this process."""

OPTIONS: Mapping[Backend, tuple[str, ...]] = {
    "transformers": ("dtype", "device", "device_map", "model_kwargs", "adapter"),
    "llamacpp": ("n_ctx", "n_gpu_layers", "n_threads", "lora"),
}
"""The options that only one backend has."""

IN_PROCESS_OPTIONS = ("model_kwargs", "adapter", "lora")
"""The options of one side that a server, or a model that is given as a `Model`, would ignore."""

NOT_AN_ARGUMENT = {
    "revision": "give it as {side}revision",
    "dtype": "give it as {side}dtype",
    "torch_dtype": "give it as {side}dtype",
    "device_map": "give it as {side}device_map",
    "gguf_file": "give {side}model a GGUF file: a path, or repo:file.gguf",
    "load_in_4bit": 'write {{"quantization_config": {{"load_in_4bit": true}}}}',
    "load_in_8bit": 'write {{"quantization_config": {{"load_in_8bit": true}}}}',
    "use_auth_token": "write token",
    "config": "write its fields as arguments of their own",
    "state_dict": "leave it out",
    "output_loading_info": "leave it out",
    "return_unused_kwargs": "leave it out",
}
"""Arguments of `from_pretrained` that are not for `model_kwargs`, and what to write instead."""

EXAMPLE = '{"attn_implementation": "eager"}'


def _checked_model_kwargs(value: Any, info: ValidationInfo) -> Any:
    """Return arguments of `from_pretrained`, from an object or from JSON. An access token becomes a `SecretStr`.

    Raises:
        PydanticCustomError: They are not an object, or one of them is an option of its own. The values are not shown.
    """
    value = _parsed_object(value)
    if value is None:
        return None
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise PydanticCustomError(SECRET, f"not an object with names of arguments: write for example {EXAMPLE}")
    side = str(info.field_name).removesuffix("model_kwargs")
    for name in value:
        if name in NOT_AN_ARGUMENT:
            raise PydanticCustomError(SECRET, f"{name} is not one of them: {NOT_AN_ARGUMENT[name].format(side=side)}")
    return _usable(value) or None


def _parsed_object(value: Any) -> Any:
    """Return the object that a JSON text on the command line stands for."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise PydanticCustomError(SECRET, f"not JSON ({error}): write for example {EXAMPLE}") from None


def _usable(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of `from_pretrained` with a hidden token, and with numbers where JSON has none."""
    usable = dict(value)
    if isinstance(token := usable.get("token"), str):
        usable["token"] = SecretStr(token)
    if isinstance(memory := usable.get("max_memory"), Mapping):  # by device, and JSON has only strings as keys
        usable["max_memory"] = {int(key) if str(key).isdecimal() else key: size for key, size in memory.items()}
    return usable


def with_hidden_tokens(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a configuration without a readable access token. pydantic's errors show all fields."""
    hidden = dict(values)
    for name, value in values.items():
        if name.endswith("model_kwargs") and value is not None:
            hidden[name] = _usable(value) if isinstance(value, Mapping) else SecretStr(_text_of(value))
    return hidden


def _text_of(value: Any) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def plain_model_kwargs(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the arguments as plain data in a fixed order, without the access token. Return None if there are none."""
    if value is None:
        return None
    plain: dict[str, Any] = _plain({name: one for name, one in value.items() if name != "token"})
    return plain or None


def _plain(value: Any) -> Any:
    """Return data of JSON. Objects of transformers, such as a quantization config, become their dictionaries."""
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {name: _plain(value[name]) for name in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Enum):
        return value.value
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


Name = Annotated[ModelName, Field(description="Hub id, model folder or GGUF file, or a server's name for its model")]
Revision = Annotated[str | None, Field(description="Revision of the hub repository")]
Dtype = Annotated[
    Literal["float32", "bfloat16", "float16"] | None,
    Field(description="float32, bfloat16 or float16; default float32 on a CPU, elsewhere the checkpoint's own"),
]
Device = Annotated[
    str | None, Field(description="Device in torch's notation; default the first accelerator, or else the CPU")
]
DeviceMap = Annotated[
    str | dict[str, Any] | None,
    Field(description="Placement on several devices, as in from_pretrained; replaces device"),
]
ModelKwargs = Annotated[
    dict[str, Any] | None,
    BeforeValidator(_checked_model_kwargs),
    PlainSerializer(plain_model_kwargs),
    Field(
        repr=False, description="transformers: other arguments of from_pretrained, such as quantization_config; JSON"
    ),
]
Adapter = Annotated[
    str | None,
    BeforeValidator(_as_text),
    Field(description="transformers: folder or hub id of a LoRA adapter of peft"),
]
BackendName = Annotated[
    Backend | None,
    Field(description="transformers or llamacpp; default llamacpp for a GGUF file if it is installed"),
]
ContextSize = Annotated[
    int | None, Field(gt=0, description="llama.cpp: maximum length of the context; default the model's own")
]
GpuLayers = Annotated[
    int | None, Field(description="llama.cpp: number of layers on the GPU; -1 or default: all that fit")
]
Threads = Annotated[int | None, Field(gt=0, description="llama.cpp: number of threads; default one per core")]
Lora = Annotated[
    str | dict[str, float] | None,
    Field(description="llama.cpp: GGUF file of a LoRA adapter, or several files with their scales"),
]
Url = Annotated[
    str | None, Field(description="URL of an OpenAI-compatible API that serves the model, up to and with /v1")
]
ApiKey = Annotated[SecretStr | None, Field(exclude=True, description="API key of the server")]
TokenizerName = Annotated[
    str | None,
    Field(description="Hub id, folder or GGUF file of the tokenizer, for a server without /tokenize"),
]
ContextWindow = Annotated[
    int | None, Field(gt=0, description="Maximum length of the context, for a server that does not tell")
]
Template = Annotated[str | None, Field(description="Jinja template of the prompt, in place of the default")]
Timeout = Annotated[float, Field(gt=0, description="Seconds without data before a request to a server times out")]
MaxRetries = Annotated[
    int, Field(ge=0, description="Number of times in a row that a request to a server may fail and be retried")
]


class ModelConfig(BaseModel):
    """Where one model is and how it is loaded."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, protected_namespaces=())

    model: Name
    revision: Revision = None
    dtype: Dtype = None
    device: Device = None
    device_map: DeviceMap = None
    model_kwargs: ModelKwargs = None
    adapter: Adapter = None
    backend: BackendName = None
    n_ctx: ContextSize = None
    n_gpu_layers: GpuLayers = None
    n_threads: Threads = None
    lora: Lora = None
    url: Url = None
    api_key: ApiKey = None
    tokenizer: TokenizerName = None
    context_window: ContextWindow = None
    template: Template = None
    timeout: Timeout = 60.0
    max_retries: MaxRetries = 6

    @field_validator("model")
    @classmethod
    def _check_model(cls, model: ModelName) -> ModelName:
        if not isinstance(model, Model) and not str(model).strip():
            raise ValueError("the name is empty")
        return model

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.username or parts.password:
            raise PydanticCustomError(SECRET, "leave the password out of the URL and pass it as the API key")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not the address of an API, for example http://localhost:8000/v1")
        return url.rstrip("/")

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name if isinstance(self.model, Model) else str(self.model)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The options that can change what the model answers, for cache keys. No weights are loaded for it."""
        if isinstance(self.model, Model):
            return {**self.model.identity, "template": self.template}
        options = self.model_dump(exclude={"model", "timeout", "max_retries", "n_threads"})  # never the API key
        return {"name": self.name, **options, "backend": self.backend_in_use}

    @property
    def backend_in_use(self) -> Backend | None:
        """The library that runs the model, or None for a model on a server or one that is given as a `Model`."""
        return None if isinstance(self.model, Model) else backend_of(self.name, self.url, self.backend)

    def check_backend(self, prefix: str = "") -> None:
        """Raise if an option is not for the backend that runs the model.

        Args:
            prefix: What users write before an option's name, for example "base_".

        Raises:
            SettingsError: An option is for another backend.
        """
        backend = self.backend_in_use
        if backend is None:
            self._check_not_in_process(prefix)
        if self.adapter is not None and (is_gguf(self.adapter) or backend == "llamacpp"):
            raise SettingsError(
                f"{prefix}adapter={self.adapter!r} is for models in transformers' format: give an adapter in GGUF, "
                f"for a GGUF file, as {prefix}lora"
            )
        if backend == "llamacpp" and not is_gguf(self.name):
            raise SettingsError(
                f"{prefix}backend='llamacpp' runs GGUF files, and {self.name!r} is none: give a path that ends in "
                f".gguf, or repo:file.gguf, or leave {prefix}backend out"
            )
        for other, names in OPTIONS.items():
            for name in names:
                value = getattr(self, name)
                if backend and other != backend and value is not None:
                    raise SettingsError(
                        f"{prefix}{name}={value!r} is for {other}, and {self.name!r} runs on {backend}: leave it out, "
                        f"or choose {prefix}backend={other!r}"
                    )

    def _check_not_in_process(self, prefix: str) -> None:
        """Raise if an option would be ignored because the model is not loaded in this process."""
        place = f"is a {type(self.model).__name__}" if isinstance(self.model, Model) else f"is served at {self.url}"
        for name in IN_PROCESS_OPTIONS:
            if (value := getattr(self, name)) is not None:
                shown = "" if name == "model_kwargs" else f"={value!r}"
                raise SettingsError(
                    f"{prefix}{name}{shown} is for a model that is loaded here, and {self.name!r} {place}: leave it out"
                )


def backend_of(name: str, url: str | None, backend: Backend | None) -> Backend | None:
    """Return what runs a model in this process, None for one on a server.

    Args:
        name: The model's name.
        url: The URL of its server.
        backend: The choice of the user.
    """
    if url is not None:
        return None
    if backend is not None:
        return backend
    return "llamacpp" if is_gguf(name) and find_spec("llama_cpp") else "transformers"
