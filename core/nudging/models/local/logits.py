"""The logits of a local model along one sequence, for methods that mix the logits of several models."""

import torch
from transformers import DynamicCache

from nudging.answer import Author, ModelUsage
from nudging.models.local.model import LocalModel


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

    def __init__(self, model: LocalModel, prompt: str, author: Author) -> None:
        self.prompt = model.tokenizer.encode(prompt, special_tokens=author == "base")
        model.check_prompt_length(len(self.prompt), author)
        self._model, self._cache = model, DynamicCache()
        self._unfed, self._length = self.prompt, len(self.prompt)
        self._forward_passes = 0

    @property
    def is_full(self) -> bool:
        """True if the context has no room for another token."""
        return self._length >= self._model.context_length

    def after(self) -> torch.Tensor:
        """Return the logits of the next token, shape [vocab], in float32 for any dtype of the model."""
        logits = self._model.weights.forward(self._unfed, self._cache, 1)[-1]
        self._unfed = []
        self._forward_passes += 1
        return logits.float()

    def push(self, token: int) -> None:
        """Append a token to the sequence."""
        self._unfed = [token]
        self._length += 1

    def usage(self) -> ModelUsage:
        """Return what has been computed so far."""
        fed = self._length - len(self._unfed)
        return ModelUsage(len(self.prompt), self._forward_passes, fed)
