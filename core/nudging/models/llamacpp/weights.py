"""Load a GGUF file into llama.cpp, and refuse what cannot write text."""

import weakref
from collections.abc import Mapping
from ctypes import create_string_buffer
from pathlib import Path
from typing import Any

from nudging.errors import ModelNotFoundError, SettingsError, UnsupportedModelError
from nudging.models.llamacpp.library import llama, logged_errors
from nudging.models.llamacpp.vocabulary import Vocabulary


class Weights:
    """A GGUF file in llama.cpp: its weights, LoRA adapters, vocabulary, chat templates and metadata.

    Args:
        path: The file.
        n_gpu_layers: Number of layers on the GPU; None leaves it to llama.cpp.
        lora: LoRA adapters in GGUF, with their scales.
        vocab_only: Load the vocabulary, the chat templates and the metadata only.

    Raises:
        ModelNotFoundError: The file is damaged, or llama.cpp does not know its architecture.
        UnsupportedModelError: The model does not write text.
    """

    def __init__(
        self, path: Path, n_gpu_layers: int | None, lora: Mapping[str, float], *, vocab_only: bool = False
    ) -> None:
        self._name = str(path)
        params = llama.llama_model_default_params()
        params.vocab_only = vocab_only
        if n_gpu_layers is not None:
            params.n_gpu_layers = n_gpu_layers
        with logged_errors() as errors:
            self.pointer: Any = llama.llama_model_load_from_file(str(path).encode(), params)
            if not self.pointer:
                raise ModelNotFoundError(_load_error(path, list(errors)))
        weakref.finalize(self, llama.llama_model_free, self.pointer)
        self.vocabulary = Vocabulary(llama.llama_model_get_vocab(self.pointer))
        self.context_length: int = llama.llama_model_n_ctx_train(self.pointer)
        self.can_crop = not (llama.llama_model_is_recurrent(self.pointer) or llama.llama_model_is_hybrid(self.pointer))
        self._refuse_other_models()
        self.adapters = [(self._load_adapter(path), scale) for path, scale in lora.items()]

    def chat_template(self, name: str | None = None) -> str | None:
        """Return the chat template of this name, or the default one; None if the file has none."""
        template = llama.llama_model_chat_template(self.pointer, name.encode() if name else None)
        return template.decode(errors="replace") if template else None

    def metadata(self, key: str) -> str | None:
        """Return a value of the file's metadata as text."""
        buffer = create_string_buffer(256)
        count = llama.llama_model_meta_val_str(self.pointer, key.encode(), buffer, len(buffer))
        return buffer.value.decode(errors="replace") if count >= 0 else None

    def _refuse_other_models(self) -> None:
        architecture = self.metadata("general.architecture")
        reason = None
        if llama.llama_model_has_encoder(self.pointer) or not llama.llama_model_has_decoder(self.pointer):
            reason = "it has an encoder"
        elif self.metadata(f"{architecture}.attention.causal") == "false":
            reason = "its tokens see those after them, as in an embedding model"
        elif self.metadata(f"{architecture}.pooling_type") not in (None, "0"):
            reason = "it is an embedding or a ranking model"
        elif llama.llama_model_is_diffusion(self.pointer):
            reason = "it writes by diffusion"
        elif not self.vocabulary.size or llama.llama_vocab_type(llama.llama_model_get_vocab(self.pointer)) == 0:
            reason = "it has no vocabulary"
        if reason:
            raise UnsupportedModelError(
                f"{self._name} ({architecture}) does not write text from left to right: {reason}. Choose a language "
                "model that generates text"
            )

    def _load_adapter(self, path: str) -> Any:
        if not Path(path).expanduser().is_file():
            raise ModelNotFoundError(f"there is no LoRA file {path!r}: check the path")
        with logged_errors() as errors:
            adapter = llama.llama_adapter_lora_init(self.pointer, str(Path(path).expanduser()).encode())
            if not adapter:
                raise SettingsError(
                    f"lora={path!r} cannot be used with {self._name} ({'; '.join(errors) or 'no reason given'}): give "
                    "a GGUF file of a LoRA adapter for this model"
                )
        return adapter


def _load_error(path: Path, errors: list[str]) -> str:
    said = next((line for line in errors if "unknown model architecture" in line), None)
    if said:
        return (
            f"llama.cpp {llama.__version__} cannot run {str(path)!r}: {said}. A newer llama-cpp-python may know it "
            "(pip install --upgrade llama-cpp-python)"
        )
    reason = errors[0] if errors else "no reason given"
    return f"{str(path)!r} is damaged or cut short: llama.cpp says {reason!r}. Download or copy it again"
