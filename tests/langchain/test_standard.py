"""LangChain's own test suites for chat models, unmodified: without weights, and on real models.

The demo pair runs all tests but those in which a model has to decide by itself to call a tool. `make test-standard`
runs the whole suite with a nudging model that was trained for tools.
"""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from nudging.models.demo import demo_pair, tool_pair

from langchain_nudging import ChatNudging


class TestWithoutWeights(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatNudging

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"base_model": "some/base-model", "nudging_model": "some/small-chat-model"}


class OnRealModels(ChatModelIntegrationTests):
    models: ClassVar[dict[str, Path]] = {}

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatNudging

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return dict(self.models)

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return str(self.models["nudging_model"])

    @pytest.fixture(autouse=True, scope="class")
    def real_models(self, request: pytest.FixtureRequest) -> None:
        base, nudging = self.pair()
        request.cls.models = {"base_model": base, "nudging_model": nudging}

    @staticmethod
    def pair() -> tuple[Path, Path]:
        raise NotImplementedError


@pytest.mark.standard
class TestDemoPair(OnRealModels):
    pair = staticmethod(demo_pair)


@pytest.mark.standard
class TestToolPair(OnRealModels):
    pair = staticmethod(tool_pair)


@pytest.mark.standard
class TestDemoPairOnLlamaCpp(OnRealModels):
    pair = staticmethod(partial(demo_pair, base_backend="llamacpp", nudging_backend="llamacpp"))


@pytest.mark.standard
class TestToolPairOnLlamaCpp(OnRealModels):
    pair = staticmethod(partial(tool_pair, backend="llamacpp"))
