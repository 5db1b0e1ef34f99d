"""Nudged models for LlamaIndex."""

from llamaindex_nudging.errors import NudgingLLMError
from llamaindex_nudging.llms import NudgingLLM

__all__ = ["NudgingLLM", "NudgingLLMError"]
