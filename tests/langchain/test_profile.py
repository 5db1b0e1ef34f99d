"""Tests of the model profile: what LangChain reads from it, and that no weights are loaded for it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.tools import tool
from nudging import ScriptedModel
from pydantic import BaseModel

from langchain_nudging import ChatNudging


def profile(base: Any, nudging: Any, **fields: Any) -> dict[str, Any]:
    found: Any = ChatNudging(base_model=base, nudging_model=nudging, **fields).profile
    return dict(found)


def folder(path: Path, config: dict[str, Any]) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_the_profile_names_the_guaranteed_features() -> None:
    known = profile(ScriptedModel("x"), ScriptedModel("x"))
    assert all(known[name] for name in ("tool_calling", "tool_choice", "structured_output", "tool_call_streaming"))
    assert not any(known[name] for name in ("image_inputs", "audio_inputs", "reasoning_output"))


def test_the_context_is_the_shorter_one() -> None:
    assert profile(ScriptedModel("x", context_length=9), ScriptedModel("x", context_length=7))["max_input_tokens"] == 7


def test_the_context_of_a_local_model_is_in_its_config(tmp_path: Path) -> None:
    base = folder(tmp_path / "base", {"text_config": {"max_position_embeddings": 4096}})
    nudging = folder(tmp_path / "nudging", {"max_position_embeddings": 2048})
    loaded = set(sys.modules)
    assert profile(base, str(nudging))["max_input_tokens"] == 2048
    assert not {name for name in set(sys.modules) - loaded if name.partition(".")[0] in ("torch", "transformers")}


@pytest.mark.parametrize("fields", [{}, {"base_url": "http://localhost:1/v1", "base_tokenizer": "a/b"}])
def test_a_context_that_is_not_known_is_left_out(fields: dict[str, Any]) -> None:
    known = profile("nobody/nothing", ScriptedModel("x"), **fields)
    assert "max_input_tokens" not in known
    assert known["structured_output"]


def test_a_profile_that_was_given_is_kept() -> None:
    assert profile(ScriptedModel("x"), ScriptedModel("x"), profile={"max_input_tokens": 5}) == {"max_input_tokens": 5}


def test_middleware_accepts_fractions_of_the_context() -> None:
    chat = ChatNudging(base_model=ScriptedModel("x"), nudging_model=ScriptedModel("x"))
    SummarizationMiddleware(chat, trigger=("fraction", 0.8), keep=("fraction", 0.3))


def test_an_agent_chooses_the_guaranteed_path_for_its_response() -> None:
    class Sum(BaseModel):
        total: int

    @tool
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    scripted = ScriptedModel('{"total": 3}')
    chat = ChatNudging(base_model=scripted, nudging_model=scripted)
    for tools in ([], [add]):
        answer = create_agent(chat, tools, response_format=Sum).invoke({"messages": [("user", "1 + 2?")]})
        assert answer["structured_response"] == Sum(total=3)
        assert not answer["messages"][-1].tool_calls
