"""Nudged models for LlamaIndex."""

from llamaindex_nudging.llms import NudgingLLM

__all__ = ["NudgingLLM"]
