"""A GGUF file, from its header."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nudging._extras import required_packages
from nudging.diagnosis.facts import ModelFacts
from nudging.diagnosis.hub import ask_hub, cached_file
from nudging.diagnosis.memory import RAM, memory_by_device
from nudging.errors import ModelNotFoundError
from nudging.models.config import ModelConfig
from nudging.models.gguf_files import gguf_file

FLOAT16, FLOAT32 = 2, 4
"""Number of bytes of a value."""

Metadata = Callable[[str], str | None]
"""Returns a value of a GGUF file's metadata as text, or None if the file has no such value, or a list."""


def read_gguf(config: ModelConfig) -> ModelFacts:
    """Return the facts about a GGUF file that llama.cpp or transformers would run.

    Raises:
        ModelNotFoundError: There is no such file, or it is damaged.
        UnsupportedModelError: The model does not write text from left to right.
        MissingDependencyError: The packages that run it are not installed.
    """
    repository, colon, file = config.name.partition(":")
    path, place = Path(config.name).expanduser(), "a GGUF file"
    if not path.is_file() and colon and "/" in repository:
        with required_packages(config.name, extra="llamacpp"):
            import huggingface_hub as _  # noqa: F401
        found = cached_file(repository, file, config.revision)
        if found is None:
            size = ask_hub(repository, config.revision, file).size
            return ModelFacts("on the hub", config.backend_in_use or "", weights=size, to_download=size)
        path, place = found, "a GGUF file in the hub's cache"
    path = gguf_file(str(path))
    return (_in_llamacpp if config.backend_in_use == "llamacpp" else _in_transformers)(config, path, place)


def _in_llamacpp(config: ModelConfig, path: Path, place: str) -> ModelFacts:
    with required_packages(f"{config.name!r} in llama.cpp", extra="llamacpp"):
        from nudging.diagnosis.llamacpp_header import Header
        from nudging.models.llamacpp.library import llama
        from nudging.models.llamacpp.tokenizer import GGUFTokenizer
    header = Header(path)
    on_gpu = llama.llama_supports_gpu_offload() and config.n_gpu_layers != 0
    context = _number(header.metadata, "context_length")
    return ModelFacts(
        place=place,
        runs_on=f"llama.cpp on {'GPU and CPU' if on_gpu else 'cpu'}",
        devices=frozenset({RAM, *memory_by_device()} if on_gpu else {RAM}),
        architecture=header.metadata("general.architecture"),
        parameters=header.parameters,
        dtype=header.quantization,
        weights=header.size,
        cache=_cache_per_token(header.metadata, FLOAT16) if header.can_crop else None,
        context=min(context, config.n_ctx) if context and config.n_ctx else context,
        tokenizer=GGUFTokenizer(config.name, lambda: header),
    )


def _in_transformers(config: ModelConfig, path: Path, place: str) -> ModelFacts:
    with required_packages(f"a GGUF file ({config.name!r})", extra="llamacpp"):
        from gguf import GGUFReader

        from nudging.diagnosis.torch_device import torch_device
    device = torch_device(config)
    try:
        reader = GGUFReader(path)
    except Exception as error:  # of numpy, for what is beyond the end of the file
        raise ModelNotFoundError(
            f"{str(path)!r} is damaged or cut short ({type(error).__name__}: {error}). Download or copy it again"
        ) from None

    def metadata(key: str) -> str | None:
        field = reader.get_field(key)
        value = field.contents() if field else None
        return None if value is None or isinstance(value, list) else str(value)

    dtype = device.dtype(config, "float32")  # the type in which it is converted
    parameters = sum(int(tensor.n_elements) for tensor in reader.tensors)
    return ModelFacts(
        place=place,
        runs_on=device.runs_on,
        devices=device.devices,
        architecture=metadata("general.architecture"),
        parameters=parameters,
        dtype=str(dtype).removeprefix("torch."),
        weights=parameters * dtype.itemsize,
        cache=_cache_per_token(metadata, dtype.itemsize),
        context=_number(metadata, "context_length"),
        has_template=bool(metadata("tokenizer.chat_template")),
        warning="it is unpacked once, which takes minutes; pip install 'nudging[llamacpp]' runs it as it is",
    )


def _number(metadata: Metadata, key: str) -> int | None:
    """Return a number that the file declares for its architecture."""
    with suppress(TypeError, ValueError):
        return int(metadata(f"{metadata('general.architecture')}.{key}"))  # type: ignore[arg-type]
    return None


def _cache_per_token(metadata: Metadata, itemsize: int) -> int | None:
    """Return the number of bytes of the KV cache per token, or None for layers without one."""
    layers, heads, width = (
        _number(metadata, key) for key in ("block_count", "attention.head_count", "embedding_length")
    )
    if not (layers and heads and width):
        return None
    key_heads = _number(metadata, "attention.head_count_kv") or heads
    keys, values = (_number(metadata, f"attention.{name}_length") or width // heads for name in ("key", "value"))
    return layers * key_heads * (keys + values) * itemsize
