"""OpenAI's JavaScript library, by the cases in node/openai.mjs."""

from typing import Any

import pytest
from node_programs import found_by
from servers import MODEL, Servers

OSLO, ROME, ALICE = {"city": "Oslo"}, {"city": "Rome"}, {"name": "Alice", "age": 30}
PROMPT = "user: Say: first\nassistant: first\nuser: Repeat the prompt.\nassistant: "

EXPECTED: dict[str, Any] = {
    "models": [MODEL],
    "chat": "Hello there.",
    "developer": "system: Be brief.\nuser: Repeat the prompt.\nassistant: ",
    "sent_back": PROMPT,
    "stream": ["1 2 3 4 5", True],
    "stream_helper": ["1 2 3 4 5", "1 2 3 4 5"],
    "call": [None, "tool_calls", "The tool says: sunny"],
    "required": ["weather", "weather"],
    "streamed_calls": [[["weather", OSLO], ["weather", ROME]], 2, "tool_calls"],
    "run_tools": "The tool says: rain",
    "parse": [ALICE, ALICE],
    "several": [True, True],
    "completions": "a b",
    "timeout": [["APIConnectionTimeoutError", "Request timed out."], True],
    "aborted": ["RateLimitError", True],
    "aborted_by_signal": ["APIUserAbortError", True],
    "tried_again": "now",
    "twenty": True,
    "responses": ["Hello there.", "completed", True],
    "responses_stream": ["1 2 3 4 5", "response.created", "response.completed", True],
    "responses_stream_helper": "1 2 3 4 5",
    "responses_call": ["weather", OSLO, "The tool says: sunny"],
    "responses_parse": [ALICE, ALICE],
    "responses_aborted": True,
}

ERRORS = {
    "wrong_key": ("AuthenticationError", "401 the API key is missing or wrong"),
    "unknown_model": ("NotFoundError", "404 there is no model 'gpt-9'"),
    "invalid": ("BadRequestError", "temperature"),
    "too_long": ("BadRequestError", "100"),
    "responses_refused": ("BadRequestError", "previous_response_id"),
}


@pytest.fixture(scope="module")
def found(servers: Servers) -> dict[str, Any]:
    return found_by("openai.mjs", servers)


def test_every_case_is_tested(found: dict[str, Any]) -> None:
    assert found.keys() == EXPECTED.keys() | ERRORS.keys()


@pytest.mark.parametrize("case", EXPECTED)
def test_a_case(found: dict[str, Any], case: str) -> None:
    assert found[case] == EXPECTED[case]


@pytest.mark.parametrize("case", ERRORS)
def test_an_error(found: dict[str, Any], case: str) -> None:
    error, words = ERRORS[case]
    assert found[case][0] == error
    assert words in found[case][1]
