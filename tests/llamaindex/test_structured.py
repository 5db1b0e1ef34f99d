"""Tests of structured prediction in LlamaIndex, complete and streamed."""

from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictInProgressEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from nudging import ScriptedModel
from pydantic import BaseModel, Field, RootModel
from recorders import recorded_prompts

from llamaindex_nudging import NudgingLLM, NudgingLLMError
from llamaindex_nudging.responses import partial_object


class Track(BaseModel):
    title: str
    minutes: int = Field(ge=0, le=59)


class Album(BaseModel):
    """A record."""

    name: str = Field(alias="called")
    kind: Literal["studio", "live"]
    tracks: list[Track]


WRITTEN = '{"called": "Low", "kind": "studio", "tracks": [{"title": "Speed of Life", "minutes": 2}]}'
ALBUM = Album.model_validate_json(WRITTEN)
PROMPT = PromptTemplate("Which album is {album}?")
MODEL = ScriptedModel(WRITTEN)

llm = NudgingLLM(base_model=MODEL, nudging_model=MODEL)


async def test_each_method_returns_the_same_object() -> None:
    assert llm.structured_predict(Album, PROMPT, album="Low") == ALBUM
    assert await llm.astructured_predict(Album, PROMPT, album="Low") == ALBUM
    assert list(llm.stream_structured_predict(Album, PROMPT, album="Low"))[-1] == ALBUM
    assert [o async for o in await llm.astream_structured_predict(Album, PROMPT, album="Low")][-1] == ALBUM


async def test_a_structured_llm_returns_the_object() -> None:
    structured = llm.as_structured_llm(Album)
    messages = [ChatMessage(role="user", content="Which album is Low?")]
    streamed = [response async for response in await structured.astream_chat(messages)]
    for response in [
        structured.chat(messages),
        await structured.achat(messages),
        list(structured.stream_chat(messages))[-1],
        streamed[-1],
    ]:
        assert response.raw == ALBUM
    assert structured.complete("Which album is Low?").raw == ALBUM


def test_a_streamed_object_gains_fields() -> None:
    base = ScriptedModel("", probability=0)
    word_by_word = NudgingLLM(base_model=base, nudging_model=MODEL, lookahead=2)
    *parts, final = word_by_word.stream_structured_predict(Album, PROMPT, album="Low")
    assert final == ALBUM
    kinds: list[Any] = [getattr(part, "kind", None) for part in parts]
    assert kinds[0] is None
    assert kinds[-1] == "studio"
    assert len(parts) > 5


@pytest.mark.parametrize("end", range(len(WRITTEN) + 1))
def test_every_prefix_of_the_json_is_an_object(end: int) -> None:
    part: Any = partial_object(Album, WRITTEN[:end])
    assert part.kind in {None, "studio", "live", *("studio"[:n] for n in range(6))}


def test_a_prefix_of_a_json_list_is_an_object() -> None:
    class Names(RootModel[list[str]]):
        pass

    assert partial_object(Names, '["Ada", "Gra') == Names(["Ada", "Gra"])


def test_the_schema_and_the_messages_are_in_the_prompts() -> None:
    model, prompts = recorded_prompts()
    recording = NudgingLLM(base_model=model, nudging_model=model, system_prompt="You know music.")
    messages = [ChatMessage(role="system", content="Be exact."), ChatMessage(role="user", content="Which is {album}?")]
    for prompt in (PROMPT, ChatPromptTemplate(messages)):
        prompts.clear()
        recording.structured_predict(Album, prompt, album="Low")
        assert all(part in prompts[0] for part in ("Low?", "You know music.", '"minutes"'))


def test_llm_kwargs_are_used_and_not_modified() -> None:
    options = {"max_tokens": 5}
    with pytest.raises(NudgingLLMError, match="max_tokens=5"):
        llm.structured_predict(Album, PROMPT, llm_kwargs=options, album="Low")
    assert options == {"max_tokens": 5}


@pytest.mark.parametrize("name", ["tool_choice", "tool_required", "allow_parallel_tool_calls", "parallel_tool_calls"])
async def test_options_about_tools_are_left_out(name: str) -> None:
    options = {name: "required" if name == "tool_choice" else True}
    assert llm.structured_predict(Album, PROMPT, llm_kwargs=options, album="Low") == ALBUM
    assert list(llm.stream_structured_predict(Album, PROMPT, llm_kwargs=options, album="Low"))[-1] == ALBUM
    assert await llm.astructured_predict(Album, PROMPT, llm_kwargs=options, album="Low") == ALBUM


def test_each_prediction_starts_and_ends_once(events: list[Any]) -> None:
    llm.structured_predict(Album, PROMPT, album="Low")
    list(llm.stream_structured_predict(Album, PROMPT, album="Low"))
    kinds = (LLMStructuredPredictStartEvent, LLMStructuredPredictInProgressEvent, LLMStructuredPredictEndEvent)
    start, progress, end = (kind.class_name() for kind in kinds)
    names = [event.class_name() for event in events if isinstance(event, kinds)]
    order = [name for name, _ in groupby(names)]  # there are several progress events
    assert names.count(start) == names.count(end) == 2
    assert order == [start, end, start, progress, end]


@pytest.mark.parametrize("seed", range(5))
def test_random_models_return_a_valid_object(tiny_base: Path, tiny_nudging: Path, seed: int) -> None:
    tiny = NudgingLLM(base_model=tiny_base, nudging_model=tiny_nudging, temperature=1.5, seed=seed, max_tokens=90)
    assert isinstance(tiny.structured_predict(Track, PROMPT, album="Low"), Track)
    *parts, final = tiny.stream_structured_predict(Track, PROMPT, album="Low")
    assert parts
    assert isinstance(final, Track)
