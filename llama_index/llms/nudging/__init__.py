"""`llamaindex_nudging`, where LlamaIndex's other integrations are looked for."""

from llamaindex_nudging import NudgingLLM

__all__ = ["NudgingLLM"]
