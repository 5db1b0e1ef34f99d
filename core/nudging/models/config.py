"""Where a model is and how it is loaded: the one declaration of these options.

`NudgerConfig` gives every option per side (`base_…`, `nudging_…`). A new option of a model is a field here, two
fields there, and the code of the kind of model that uses it.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
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
    "transformers": ("dtype", "device", "device_map"),
    "llamacpp": ("n_ctx", "n_gpu_layers", "n_threads", "lora"),
}
"""The options that only one backend has."""

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
Template = Annotated[str | None, Field(description="Jinja template of the prompt, in place of the default")]
Timeout = Annotated[float, Field(gt=0, description="Seconds without data before a request to a server times out")]
MaxRetries = Annotated[
    int, Field(ge=0, description="Number of times in a row that a request to a server may fail and be retried")
]


class ModelConfig(BaseModel):
    """Where one model is and how it is loaded."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    model: Name
    revision: Revision = None
    dtype: Dtype = None
    device: Device = None
    device_map: DeviceMap = None
    backend: BackendName = None
    n_ctx: ContextSize = None
    n_gpu_layers: GpuLayers = None
    n_threads: Threads = None
    lora: Lora = None
    url: Url = None
    api_key: ApiKey = None
    tokenizer: TokenizerName = None
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
