"""A GGUF file in llama.cpp without its weights: metadata, vocabulary and chat templates."""

import weakref
from pathlib import Path

from nudging.errors import ModelNotFoundError
from nudging.models.llamacpp.library import llama, logged_errors
from nudging.models.llamacpp.vocabulary import Vocabulary
from nudging.models.llamacpp.weights import Weights, _load_error


class Header(Weights):
    """A GGUF file in llama.cpp, of which only the header is loaded. It refuses the files that `Weights` refuses.

    Args:
        path: The file.

    Raises:
        ModelNotFoundError: The file is damaged, or llama.cpp does not know its architecture.
        UnsupportedModelError: The model does not write text.
    """

    def __init__(self, path: Path) -> None:
        self._name = str(path)
        params = llama.llama_model_default_params()
        params.vocab_only = True
        with logged_errors() as errors:
            self.pointer = llama.llama_model_load_from_file(str(path).encode(), params)
            if not self.pointer:
                raise ModelNotFoundError(_load_error(path, list(errors)))
        weakref.finalize(self, llama.llama_model_free, self.pointer)
        self.vocabulary = Vocabulary(llama.llama_model_get_vocab(self.pointer))
        self.can_crop = not (llama.llama_model_is_recurrent(self.pointer) or llama.llama_model_is_hybrid(self.pointer))
        self._refuse_other_models()
        self.parameters: int = llama.llama_model_n_params(self.pointer)
        self.size: int = llama.llama_model_size(self.pointer)

    @property
    def quantization(self) -> str | None:
        """The type of most weights, for example "Q4_K - Medium"; None if the file does not say."""
        number = self.metadata("general.file_type")
        return llama.llama_ftype_name(int(number)).decode(errors="replace") if number else None
