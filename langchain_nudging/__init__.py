"""Nudged models for LangChain."""

from langchain_nudging.chat_models import ChatNudging
from langchain_nudging.llms import NudgingLLM

__all__ = ["ChatNudging", "NudgingLLM"]
