"""All arguments of a `Nudger` as pydantic fields. The LangChain and LlamaIndex classes inherit them."""

from collections.abc import Callable
from inspect import Signature, signature
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from nudging.answer import Author
from nudging.errors import SettingsError
from nudging.models.base import Model
from nudging.models.config import (
    OPTIONS,
    ApiKey,
    Backend,
    BackendName,
    ContextSize,
    Device,
    DeviceMap,
    Dtype,
    GpuLayers,
    Lora,
    MaxRetries,
    ModelConfig,
    Name,
    Revision,
    Template,
    Threads,
    Timeout,
    TokenizerName,
    Url,
    backend_of,
)
from nudging.settings import Settings, SettingsFields, checked


class NudgerConfig(SettingsFields):
    """Two models and the settings.

    `base_x` and `nudging_x` are the field `x` of `ModelConfig`, of either model. A field without prefix stands for
    both models, unless the one with the prefix is given.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    base_model: Name
    nudging_model: Name
    base_template: Template = None
    nudging_template: Template = None
    base_revision: Revision = None
    nudging_revision: Revision = None
    base_url: Url = None
    nudging_url: Url = None
    base_api_key: ApiKey = None
    nudging_api_key: ApiKey = None
    base_tokenizer: TokenizerName = None
    nudging_tokenizer: TokenizerName = None
    base_dtype: Dtype = None
    nudging_dtype: Dtype = None
    dtype: Dtype = None
    base_device: Device = None
    nudging_device: Device = None
    device: Device = None
    base_device_map: DeviceMap = None
    nudging_device_map: DeviceMap = None
    device_map: DeviceMap = None
    base_backend: BackendName = None
    nudging_backend: BackendName = None
    base_n_ctx: ContextSize = None
    nudging_n_ctx: ContextSize = None
    n_ctx: ContextSize = None
    base_n_gpu_layers: GpuLayers = None
    nudging_n_gpu_layers: GpuLayers = None
    n_gpu_layers: GpuLayers = None
    base_n_threads: Threads = None
    nudging_n_threads: Threads = None
    n_threads: Threads = None
    base_lora: Lora = None
    nudging_lora: Lora = None
    timeout: Timeout = 60.0
    max_retries: MaxRetries = 6
    hints: Annotated[
        bool, Field(description="Check several likely tokens in one forward pass; never changes an answer")
    ] = True

    @field_serializer("base_model", "nudging_model")
    def _model_name(self, model: str | Path | Model) -> str:
        """Return a model's name: weights are not serialized."""
        return model.name if isinstance(model, Model) else str(model)

    @property
    def settings(self) -> Settings:
        """The settings of an answer, checked strictly.

        Raises:
            SettingsError: A setting is out of range.
        """
        return Settings.checked({name: getattr(self, name) for name in Settings.model_fields})

    def config_of(self, author: Author) -> ModelConfig:
        """Return where one of the two models is and how it is loaded.

        Raises:
            SettingsError: A value is not allowed, or two options exclude each other.
        """
        elsewhere = self._options_of_other_backends(author)
        options: dict[str, Any] = {}
        for name in ModelConfig.model_fields:
            own = getattr(self, f"{author}_{name}", None)
            shared = getattr(self, name) if name in NudgerConfig.model_fields and name not in elsewhere else None
            options[name] = shared if own is None else own
        config = checked(ModelConfig, self._without_conflicts(author, options), prefix=f"{author}_")
        config.check_backend(prefix=f"{author}_")
        return config

    def _options_of_other_backends(self, author: Author) -> set[str]:
        """Return the shared options that are not for this model, but for one that another backend runs.

        Raises:
            SettingsError: A shared option is for neither model.
        """
        backends = {author: self._backend(author) for author in get_args(Author)}
        for backend, names in OPTIONS.items():
            for name in names:
                value = getattr(self, name, None)
                if value is not None and None not in backends.values() and backend not in backends.values():
                    other = backends[author]
                    raise SettingsError(
                        f"{name}={value!r} is for {backend}, and both models run on {other}: leave it out, or choose "
                        f"base_backend={backend!r} or nudging_backend={backend!r}"
                    )
        mine = backends[author]
        return {name for backend, names in OPTIONS.items() if mine and backend != mine for name in names}

    def _backend(self, author: Author) -> Backend | None:
        model = getattr(self, f"{author}_model")
        if isinstance(model, Model):
            return None
        return backend_of(str(model), getattr(self, f"{author}_url"), getattr(self, f"{author}_backend"))

    def _without_conflicts(self, author: Author, options: dict[str, Any]) -> dict[str, Any]:
        own_device, own_device_map = getattr(self, f"{author}_device"), getattr(self, f"{author}_device_map")
        if own_device is not None and own_device_map is None:
            options["device_map"] = None
        elif own_device_map is not None and own_device is None:
            options["device"] = None
        if options["device"] is not None and options["device_map"] is not None:
            raise SettingsError(
                f"device={options['device']!r} and device_map={options['device_map']!r} exclude each other: give one"
            )
        if options["tokenizer"] is not None and options["url"] is None:
            raise SettingsError(
                f"{author}_tokenizer={options['tokenizer']!r} is for a model on a server: give {author}_url too, "
                f"or leave {author}_tokenizer out"
            )
        return options


F = TypeVar("F", bound=Callable[..., None])


def arguments_of(config: type[BaseModel]) -> Callable[[F], F]:
    """Let a constructor with `**options` show the fields of a pydantic class as its arguments.

    `help`, notebooks and completion then list all of them, though each is declared only once, in that class.
    """

    def declare(constructor: F) -> F:
        own = [one for one in signature(constructor).parameters.values() if one.kind is not one.VAR_KEYWORD]
        names = {one.name for one in own}
        fields = [one for one in signature(config).parameters.values() if one.name not in names]
        constructor.__signature__ = Signature([*own, *fields])  # type: ignore[attr-defined]
        return constructor

    return declare
