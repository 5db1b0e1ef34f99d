"""The AI SDK with three providers, by the cases in node/ai.mjs."""

from typing import Any

import pytest
from node_programs import found_by
from servers import Servers

OSLO, ALICE = {"city": "Oslo"}, {"name": "Alice", "age": 30}

EXPECTED: dict[str, Any] = {
    "text": ["Hello there.", "stop", True],
    "system": "system: Be brief.\nuser: Repeat the prompt.\nassistant: ",
    "sent_back": "user: Say: first\nassistant: first\nuser: Repeat the prompt.\nassistant: ",
    "stream": ["1 2 3 4 5", True, "stop", True],
    "tools": [2, OSLO, "The tool says: sunny in Oslo"],
    "two_tools": ["Oslo", "Rome"],
    "empty_input": "The tool says: noon",
    "required": ["weather"],
    "named": [OSLO],
    "none": "none",
    "streamed_tools": [2, "The tool says: sunny in Rome"],
    "tools_sent_back": "second",
    "object": ALICE,
    "streamed_object": ALICE,
    "output": ALICE,
    "choice": "good",
    "settings": ["one two", "length"],
    "tried_again": "now",
    "twenty": True,
}

ERRORS = {
    "wrong_key": "the API key is missing or wrong",
    "too_long": "100",
    "unknown_model": "there is no model 'gpt-9'",
}


@pytest.fixture(scope="module")
def found(servers: Servers) -> dict[str, Any]:
    return found_by("ai.mjs", servers)


@pytest.fixture(params=["chat", "responses", "compatible"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("case", EXPECTED)
def test_a_case(found: dict[str, Any], provider: str, case: str) -> None:
    assert found[f"{provider}.{case}"] == EXPECTED[case]


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_readable(found: dict[str, Any], provider: str, case: str) -> None:
    error, message = found[f"{provider}.{case}"]
    assert error == "APICallError"
    assert ERRORS[case] in message


def test_an_aborted_stream_frees_its_slot(found: dict[str, Any], provider: str) -> None:
    refused, idle = found[f"{provider}.aborted"]
    assert "try again" in refused
    assert idle


def test_every_case_is_tested(found: dict[str, Any]) -> None:
    assert {case.partition(".")[2] for case in found} == EXPECTED.keys() | ERRORS.keys() | {"aborted"}
