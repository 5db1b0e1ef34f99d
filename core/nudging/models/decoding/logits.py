"""The logits of a model along one sequence, for methods that mix the logits of several models."""

import numpy as np
from numpy.typing import NDArray

from nudging.answer import Author, ModelUsage
from nudging.models.decoding.model import InProcessModel


class Logits:
    """The logits of one model after a growing sequence of tokens. Each token is fed once.

    Args:
        model: The model.
        prompt: The prompt as the model sees it.
        author: The model's part, as for `Model.session`.

    Raises:
        PromptError: The prompt is empty.
        ContextLengthError: The prompt leaves no room for an answer in the model's context.
    """

    def __init__(self, model: InProcessModel, prompt: str, author: Author) -> None:
        self.prompt = model.tokenizer.encode(prompt, special_tokens=author == "base")
        model.check_prompt_length(len(self.prompt), author)
        self._model, self._cache = model, model.engine.new_cache()
        self._unfed, self._length = self.prompt, len(self.prompt)
        self._forward_passes = 0

    @property
    def is_full(self) -> bool:
        """True if the context has no room for another token."""
        return self._length >= self._model.context_length

    def after(self) -> NDArray[np.float32]:
        """Return the logits of the next token, shape [vocab], in float32 for any dtype of the model."""
        logits: NDArray[np.float32] = self._cache.extend(self._unfed, 1, self._model.engine.to_array)[-1]
        self._unfed = []
        self._forward_passes += 1
        return logits

    def push(self, token: int) -> None:
        """Append a token to the sequence."""
        self._unfed = [token]
        self._length += 1

    def usage(self) -> ModelUsage:
        """Return what has been computed so far."""
        fed = self._length - len(self._unfed)
        return ModelUsage(len(self.prompt), self._forward_passes, fed)
