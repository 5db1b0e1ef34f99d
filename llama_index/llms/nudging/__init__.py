"""`NudgingLLM` under the import path of LlamaIndex's other integrations."""

from llamaindex_nudging import NudgingLLM

__all__ = ["NudgingLLM"]
