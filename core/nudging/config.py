"""All arguments of a `Nudger` as pydantic fields. The LangChain and LlamaIndex classes inherit them."""

from collections.abc import Callable, Mapping
from inspect import Signature, signature
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, field_serializer, model_validator
from typing_extensions import Self

from nudging.answer import Author
from nudging.config_file import read_object, write_object
from nudging.errors import SettingsError
from nudging.families import family_of
from nudging.models.base import Model
from nudging.models.config import (
    OPTIONS,
    Adapter,
    ApiKey,
    Backend,
    BackendName,
    ContextSize,
    ContextWindow,
    Device,
    DeviceMap,
    Dtype,
    GpuLayers,
    Lora,
    MaxRetries,
    ModelConfig,
    ModelKwargs,
    Name,
    Revision,
    Template,
    Threads,
    Timeout,
    TokenizerName,
    Url,
    backend_of,
    with_hidden_tokens,
)
from nudging.settings import Settings, SettingsFields, checked


class NudgerConfig(SettingsFields):
    """Two models and the settings.

    `base_x` and `nudging_x` are the field `x` of `ModelConfig`, of either model. A field without prefix stands for
    both models, unless the one with the prefix is given.

    If `threshold` is not given, it is the paper's value for the family that the base model's name names (see
    `families.py`), or else the default of the field.
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
    base_context_window: ContextWindow = None
    nudging_context_window: ContextWindow = None
    base_dtype: Dtype = None
    nudging_dtype: Dtype = None
    dtype: Dtype = None
    base_device: Device = None
    nudging_device: Device = None
    device: Device = None
    base_device_map: DeviceMap = None
    nudging_device_map: DeviceMap = None
    device_map: DeviceMap = None
    base_model_kwargs: ModelKwargs = None
    nudging_model_kwargs: ModelKwargs = None
    base_adapter: Adapter = None
    nudging_adapter: Adapter = None
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

    @classmethod
    def from_config(cls, path: str | Path, **options: Any) -> Self:
        """Return the configuration in a config file: a JSON object with fields of `NudgerConfig`.

        Args:
            path: The file. Paths of models in it are relative to the current directory, as everywhere else.
            **options: Arguments of this class. They replace those of the file. None means "not given".

        Raises:
            SettingsError: The file cannot be read, a field in it is unknown or out of range, or a model is not given.
        """
        values = config_values(path) | {name: value for name, value in options.items() if value is not None}
        for author in get_args(Author):
            if f"{author}_model" not in values:
                raise SettingsError(
                    f"the config file {str(path)!r} has no {author}_model: add it, or give {author}_model as an option"
                )
        # a subclass may have more arguments, and its own way to check them
        return checked(cls, values) if cls is NudgerConfig else cls(**values)

    def write_config(self, path: str | Path) -> None:
        """Write a config file for `from_config`: both models, and the fields that differ from their defaults.

        API keys and access tokens are not written. Neither are fields that only a subclass has.

        Args:
            path: The file. One that is there is replaced.

        Raises:
            SettingsError: A value is not allowed, or a model is a `Model`, which a file cannot name.
            OutputError: The file cannot be written.
        """
        for author in get_args(Author):
            model = getattr(self, f"{author}_model")
            if isinstance(model, Model):
                raise SettingsError(
                    f"{author}_model is a {type(model).__name__}, and a config file has only names: give a hub id, a "
                    "folder, a GGUF file, or a server's name"
                )
            self.config_of(author)
        _ = self.settings
        plain = NudgerConfig(base_model=self.base_model, nudging_model=self.nudging_model)
        values = self.model_dump(include=set(NudgerConfig.model_fields))
        written = {f"{author}_model": values.pop(f"{author}_model") for author in get_args(Author)}  # the first lines
        for name, value in values.items():
            # a subclass may have another default: the file then has the value, for both
            field = type(self).model_fields.get(name)
            if field and not getattr(self, name) == getattr(plain, name) == field.default:
                written[name] = value
        write_object(path, written)

    @model_validator(mode="before")
    @classmethod
    def _hide_tokens(cls, values: Any) -> Any:
        """Hide access tokens before anything is checked: pydantic's errors show what they are about."""
        return with_hidden_tokens(values) if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _choose_threshold(self) -> Self:
        return self._with_threshold_of_family()

    def _with_threshold_of_family(self) -> Self:
        """Set the threshold to the one of the base model's family, if none was given. Return this configuration."""
        if "threshold" not in self.model_fields_set:
            name = self.base_model.name if isinstance(self.base_model, Model) else str(self.base_model)
            family = family_of(name)
            default = type(self).model_fields["threshold"].default
            # not an assignment, after which pydantic would take the threshold as given
            self.__dict__["threshold"] = family.threshold if family else default
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy. A threshold that was not given follows the copy's base model."""
        return super().model_copy(update=update, deep=deep)._with_threshold_of_family()

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
        for name in ("tokenizer", "context_window"):
            if options[name] is not None and options["url"] is None:
                raise SettingsError(
                    f"{author}_{name}={options[name]!r} is for a model on a server: give {author}_url too, or leave "
                    f"{author}_{name} out"
                )
        return options


def config_values(path: str | Path) -> dict[str, Any]:
    """Return the fields in a config file, checked. Both models may be missing.

    Raises:
        SettingsError: The file cannot be read, or a field in it is unknown or out of range. The message names both.
    """
    values = read_object(path)
    stand_ins = {f"{author}_model": author for author in get_args(Author)}  # for those that are not in the file
    try:
        config = checked(NudgerConfig, stand_ins | values)
        for author in get_args(Author):
            names = (name for name in ModelConfig.model_fields if f"{author}_{name}" in values)
            own = {name: getattr(config, f"{author}_{name}") for name in names}
            checked(ModelConfig, {"model": author} | own, prefix=f"{author}_")
    except SettingsError as error:
        raise SettingsError(f"the config file {str(path)!r}: {error}") from None
    return {name: getattr(config, name) for name in values}


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
