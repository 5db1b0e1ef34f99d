"""Tests of metadata: plain types, which survive any wire, and add up before and after it."""

import json
from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import ormsgpack
import pytest
import yaml
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, AIMessageChunk, message_to_dict, messages_from_dict
from langchain_core.outputs import GenerationChunk
from langchain_core.outputs.chat_generation import ChatGenerationChunk, merge_chat_generation_chunks
from nudging import ScriptedModel

from langchain_nudging import ChatNudging, NudgingLLM

MODEL = ScriptedModel("Why, hello there! How can I help you today? There is much that I know, and more that I do not.")
chat = ChatNudging(base_model=MODEL, nudging_model=MODEL)
METADATA = chat.invoke("Hi").response_metadata


@pytest.mark.parametrize(
    "wire",
    [
        lambda data: json.loads(json.dumps(data)),
        lambda data: yaml.safe_load(yaml.safe_dump(data)),
        lambda data: ormsgpack.unpackb(ormsgpack.packb(data, option=ormsgpack.OPT_PASSTHROUGH_SUBCLASS)),
    ],
    ids=["json", "yaml", "msgpack"],
)
def test_metadata_is_the_same_after_a_wire(wire: Callable[[Any], Any]) -> None:
    for metadata in (METADATA, reduce(add, chat.stream("Hi", logprobs=True)).response_metadata):
        assert wire(metadata) == metadata


WIRES: dict[str, Callable[[Any], Any]] = {
    "none": lambda chunk: chunk,
    "json": lambda chunk: AIMessageChunk.model_validate_json(chunk.model_dump_json()),
    "dict": lambda chunk: messages_from_dict([message_to_dict(chunk)])[0],
    "load": lambda chunk: loads(dumps(chunk), allowed_objects="messages"),
}


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
@pytest.mark.filterwarnings("ignore:The function `load`")
def test_the_sum_of_a_stream_has_the_metadata_of_the_whole_answer(wire: Callable[[Any], Any]) -> None:
    chunks = [wire(chunk) for chunk in chat.stream("Hi")]
    assert reduce(add, chunks).response_metadata == METADATA
    assert (chunks[0] + chunks[1:]).response_metadata == METADATA
    assert reduce(add, chunks, AIMessageChunk("")).response_metadata == METADATA


def test_every_sum_knows_its_authors() -> None:
    first, second, *_ = chunks = list(chat.stream("Hi"))
    assert [chunk.response_metadata["author"] for chunk in (first, second)] == ["nudging", "base"]
    assert type(first + second) is AIMessageChunk
    assert (first + second).response_metadata["author"] == "nudging+base"
    assert (second + (second + second)).response_metadata["author"] == "base"
    merged: Any = merge_chat_generation_chunks([ChatGenerationChunk(message=chunk) for chunk in chunks])
    assert merged.message.response_metadata == METADATA


def test_streaming_gives_the_same_message_from_invoke() -> None:
    streaming = ChatNudging(base_model=MODEL, nudging_model=MODEL, streaming=True).invoke("Hi")
    assert type(streaming) is AIMessage
    assert streaming.response_metadata == METADATA


def test_the_sum_of_an_llms_chunks_has_the_metadata_of_the_whole_answer() -> None:
    llm = NudgingLLM(base_model=MODEL, nudging_model=MODEL)
    expected = llm.generate(["Hi"]).generations[0][0].generation_info
    assert reduce(add, llm._stream("Hi")).generation_info == expected
    assert reduce(add, llm._stream("Hi"), GenerationChunk(text="")).generation_info == expected
