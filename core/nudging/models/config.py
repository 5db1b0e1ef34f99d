"""Where a model is and how it is loaded: the one declaration of these options.

`NudgerConfig` gives every option per side (`base_…`, `nudging_…`). A new option of a model is a field here, two
fields there, and the code of the kind of model that uses it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError

from nudging.models.base import Model
from nudging.settings import SECRET

ModelName: TypeAlias = str | Path | Model
"""A hub id, a folder, a GGUF file, a server's name for its model, or a `Model`."""

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
        options = self.model_dump(exclude={"model", "timeout", "max_retries"})  # the API key is always excluded
        return {"name": self.name, **options}
