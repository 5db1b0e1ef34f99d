"""What a local model thinks of every token of its vocabulary: for methods that mix the models' logits."""

import torch
from transformers import DynamicCache

from nudging.answer import ModelUsage
from nudging.models.base import Role
from nudging.models.local.model import LocalModel


class Logits:
    """A local model along one sequence of tokens, of which it is fed each once.

    Args:
        model: The model.
        prompt: As the model shall see it.
        role: As for `Model.session`.

    Raises:
        PromptError: The prompt is empty.
        ContextLengthError: It leaves no room for an answer in the model's context.
    """

    def __init__(self, model: LocalModel, prompt: str, role: Role) -> None:
        self.prompt = model.encode(prompt, special_tokens=role == "base")
        model.check_room(len(self.prompt), role)
        self._model, self._cache = model, DynamicCache()
        self._unfed, self._length = self.prompt, len(self.prompt)
        self._forward_passes = 0

    @property
    def is_full(self) -> bool:
        """Whether the context has no room for another token."""
        return self._length >= self._model.context_length

    def after(self) -> torch.Tensor:
        """The logits of what comes next, shape (vocabulary,), in float32 whatever the model's dtype."""
        logits = self._model.forward(self._unfed, self._cache, 1)[-1]
        self._unfed = []
        self._forward_passes += 1
        return logits.float()

    def push(self, token: int) -> None:
        """The token that comes next."""
        self._unfed = [token]
        self._length += 1

    def usage(self) -> ModelUsage:
        """What was done so far."""
        fed = self._length - len(self._unfed)
        return ModelUsage(len(self.prompt), self._forward_passes, fed)
