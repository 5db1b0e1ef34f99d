"""Structured prediction in LlamaIndex: an object of the class that was asked for, every way, whole and as it grows."""

from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import pytest
from listening import listening
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictInProgressEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from nudging import GrammarError, ScriptedModel
from pydantic import BaseModel, Field, RootModel

from llamaindex_nudging import NudgingLLM
from llamaindex_nudging.responses import object_so_far


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


async def test_every_way_gives_the_same_object() -> None:
    assert llm.structured_predict(Album, PROMPT, album="Low") == ALBUM
    assert await llm.astructured_predict(Album, PROMPT, album="Low") == ALBUM
    assert list(llm.stream_structured_predict(Album, PROMPT, album="Low"))[-1] == ALBUM
    assert [o async for o in await llm.astream_structured_predict(Album, PROMPT, album="Low")][-1] == ALBUM


async def test_a_structured_llm_says_the_object_as_json() -> None:
    structured = llm.as_structured_llm(Album)
    asked = [ChatMessage(role="user", content="Which album is Low?")]
    streamed = [response async for response in await structured.astream_chat(asked)]
    for response in [
        structured.chat(asked),
        await structured.achat(asked),
        list(structured.stream_chat(asked))[-1],
        streamed[-1],
    ]:
        assert response.raw == ALBUM
    assert structured.complete("Which album is Low?").raw == ALBUM


def test_the_object_grows() -> None:
    base = ScriptedModel("", probability=0)
    word_by_word = NudgingLLM(base_model=base, nudging_model=MODEL, lookahead=2)
    *parts, last = word_by_word.stream_structured_predict(Album, PROMPT, album="Low")
    assert last == ALBUM
    kinds: list[Any] = [getattr(part, "kind", None) for part in parts]
    assert kinds[0] is None
    assert kinds[-1] == "studio"
    assert len(parts) > 5


@pytest.mark.parametrize("end", range(len(WRITTEN) + 1))
def test_every_beginning_is_an_object(end: int) -> None:
    part: Any = object_so_far(Album, WRITTEN[:end])
    assert part.kind in {None, "studio", "live", *("studio"[:n] for n in range(6))}


def test_the_beginning_of_a_list_is_an_object_too() -> None:
    class Names(RootModel[list[str]]):
        pass

    assert object_so_far(Names, '["Ada", "Gra') == Names(["Ada", "Gra"])


def test_the_class_and_the_messages_reach_both_models() -> None:
    model, seen = listening()
    listener = NudgingLLM(base_model=model, nudging_model=model, system_prompt="You know music.")
    messages = [ChatMessage(role="system", content="Be exact."), ChatMessage(role="user", content="Which is {album}?")]
    for prompt in (PROMPT, ChatPromptTemplate(messages)):
        seen.clear()
        listener.structured_predict(Album, prompt, album="Low")
        assert all(part in seen[0] for part in ("Low?", "You know music.", '"minutes"'))


def test_settings_can_be_given_and_are_left_as_they_were() -> None:
    given = {"max_tokens": 5}
    with pytest.raises(GrammarError, match="max_tokens=5"):
        llm.structured_predict(Album, PROMPT, llm_kwargs=given, album="Low")
    assert given == {"max_tokens": 5}


def test_each_prediction_is_one_event(events: list[Any]) -> None:
    llm.structured_predict(Album, PROMPT, album="Low")
    list(llm.stream_structured_predict(Album, PROMPT, album="Low"))
    kinds = (LLMStructuredPredictStartEvent, LLMStructuredPredictInProgressEvent, LLMStructuredPredictEndEvent)
    begin, progress, end = (kind.class_name() for kind in kinds)
    names = [event.class_name() for event in events if isinstance(event, kinds)]
    seen = [name for name, _ in groupby(names)]  # progress is made several times
    assert names.count(begin) == names.count(end) == 2
    assert seen == [begin, end, begin, progress, end]


@pytest.mark.parametrize("seed", range(5))
def test_models_that_know_nothing_make_an_object_all_the_same(tiny_base: Path, tiny_nudging: Path, seed: int) -> None:
    tiny = NudgingLLM(base_model=tiny_base, nudging_model=tiny_nudging, temperature=1.5, seed=seed, max_tokens=90)
    assert isinstance(tiny.structured_predict(Track, PROMPT, album="Low"), Track)
    *parts, last = tiny.stream_structured_predict(Track, PROMPT, album="Low")
    assert parts
    assert isinstance(last, Track)
