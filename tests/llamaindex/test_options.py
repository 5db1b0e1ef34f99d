"""Tests of the arguments of a call that other LLM classes have."""

import pytest
from llama_index.core import Document
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.extractors import DocumentContextExtractor
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore
from nudging import ScriptedModel
from nudging._logging import log_once
from pydantic import BaseModel

from llamaindex_nudging import NudgingLLM, NudgingLLMError
from llamaindex_nudging.options import IGNORED

HI = [ChatMessage(role="user", content="Hi")]


def scripted(text: str) -> NudgingLLM:
    model = ScriptedModel(text)
    return NudgingLLM(base_model=model, nudging_model=model)


@pytest.mark.parametrize("name", sorted(IGNORED))
async def test_arguments_without_a_counterpart_are_ignored(name: str) -> None:
    llm = scripted("Fine.")
    assert llm.complete("Hi", **{name: 3}).text == "Fine."
    assert (await llm.achat(HI, **{name: {"key": "value"}})).message.content == "Fine."
    assert [response.text for response in llm.stream_complete("Hi", **{name: [1]})][-1] == "Fine."


def test_an_ignored_argument_is_logged_once_without_its_value(caplog: pytest.LogCaptureFixture) -> None:
    log_once.cache_clear()
    for _ in range(2):
        scripted("Fine.").complete("Hi", extra_headers={"authorization": "sk-secret"})
    (record,) = caplog.records
    assert "'extra_headers'" in record.getMessage()
    assert "sk-secret" not in record.getMessage()


def test_the_arguments_of_evaluation_libraries_are_accepted() -> None:
    assert scripted("Fine.").complete("Hi", n=1, temperature=0.01, stop=None).text == "Fine."


def test_none_is_not_given() -> None:
    nothing = dict.fromkeys(
        [*IGNORED, "threshold", "stop", "schema", "tools", "tool_choice", "response_format", "seed"]
    )
    assert scripted("Fine.").complete("Hi", **nothing).text == "Fine."


def test_settings_with_another_name_are_honoured() -> None:
    llm = scripted("one two three four")
    assert llm.complete("Hi", max_completion_tokens=2).text == "one two"
    assert llm.complete("Hi", stop_sequences=["three"]).text == "one two "


@pytest.mark.parametrize("name", ["treshold", "maxtokens", "temprature", "scheme"])
def test_a_misspelt_setting_raises(name: str) -> None:
    with pytest.raises(NudgingLLMError, match=f"no setting '{name}'"):
        scripted("Fine.").complete("Hi", **{name: 1})


def test_a_response_format_is_honoured() -> None:
    class City(BaseModel):
        name: str

    schema = City.model_json_schema()
    llm = scripted('{"name": "Paris"} or so')
    formats = [City, schema, {"type": "json_schema", "json_schema": {"name": "City", "schema": schema}}]
    for response_format in [*formats, {"type": "json_object"}]:
        assert llm.chat(HI, response_format=response_format).message.content == '{"name": "Paris"}'
    assert llm.chat(HI, response_format={"type": "text"}).message.content == '{"name": "Paris"} or so'


def test_options_about_tools_without_tools_change_nothing() -> None:
    for options in ({"tool_choice": "auto"}, {"tool_choice": "none"}, {"parallel_tool_calls": False}, {"tools": []}):
        assert scripted("Fine.").chat(HI, **options).message.content == "Fine."


def test_contexts_of_documents_are_extracted() -> None:
    documents = [Document(text="The Eiffel Tower is 330 metres tall. It stands in Paris.", id_="d")]
    store = SimpleDocumentStore()
    store.add_documents(documents)
    extractor = DocumentContextExtractor(
        docstore=store, llm=scripted("About the tower."), max_context_length=1000, max_output_tokens=20
    )
    (node,) = IngestionPipeline(transformations=[SentenceSplitter(), extractor]).run(documents=documents)
    assert list(node.metadata.values()) == ["About the tower."]
