"""The engine's arguments as pydantic fields: what the wrappers of chain libraries inherit."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_serializer

from nudging.models import Model
from nudging.nudger import Nudger
from nudging.settings import Logprobs, Lookahead, MaxTokens, Seed, Stop, Temperature, Threshold, TopP


class NudgerConfig(BaseModel):
    """Models and settings of a `Nudger`, under the same names and with the same defaults."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    base_model: str | Path | Model = Field(
        description="The model that knows: a hub id, a folder, a GGUF file, or a Model"
    )
    nudging_model: str | Path | Model = Field(description="The small aligned one, likewise; it needs a chat template")
    threshold: Threshold = 0.4
    lookahead: Lookahead = 16
    max_tokens: MaxTokens = 256
    temperature: Temperature = 0.0
    top_p: TopP = 1.0
    seed: Seed | None = None
    stop: Stop = ()
    logprobs: Logprobs = False
    base_template: str | None = Field(default=None, description="Jinja template of the base prompt")
    nudging_template: str | None = Field(
        default=None, description="Jinja, in place of the nudging model's chat template"
    )
    base_revision: str | None = Field(default=None, description="Revision of the base model's hub repository")
    nudging_revision: str | None = Field(default=None, description="Revision of the nudging model's hub repository")
    dtype: Literal["float32", "bfloat16", "float16"] | None = Field(default=None, description="Of both models")
    device: str | None = Field(default=None, description="Where both models run, as torch names it")
    device_map: str | dict[str, Any] | None = Field(default=None, description="As in from_pretrained, not with device")
    base_url: str | None = Field(default=None, description="Of an OpenAI-compatible API that serves the base model")
    nudging_url: str | None = Field(default=None, description="Of one that serves the nudging model")
    base_api_key: SecretStr | None = Field(default=None, exclude=True, description="If the base model's server asks")
    nudging_api_key: SecretStr | None = Field(default=None, exclude=True, description="If the nudging model's does")
    base_tokenizer: str | None = Field(default=None, description="If the base model's server does not tell of its own")
    nudging_tokenizer: str | None = Field(default=None, description="If the nudging model's does not")
    timeout: float = Field(default=60.0, gt=0, description="Seconds that a request may be without a word")
    max_retries: int = Field(default=6, ge=0, description="How often in a row a request may fail and be tried again")

    @field_serializer("base_model", "nudging_model")
    def _model_name(self, model: str | Path | Model) -> str:
        """Weights are not written down: a model is what it is loaded from."""
        return model.name if isinstance(model, Model) else str(model)

    @property
    def nudger(self) -> Nudger:
        """The engine of these fields as they are now. Light: the weights are kept by name, not in here."""
        return Nudger(**{name: getattr(self, name) for name in NudgerConfig.model_fields})
