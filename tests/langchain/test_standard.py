"""LangChain's own suite for chat models, unmodified."""

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_nudging import ChatNudging


class TestChatNudging(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatNudging

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"base_model": "some/base-model", "nudging_model": "some/small-chat-model"}
