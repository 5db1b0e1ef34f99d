"""Chunks of a streamed completion become steps, whatever the server lists."""

import math
from typing import Any

import pytest
from nudging import Nudger, UnsupportedModelError
from nudging.models.remote.completion import CutOffError
from nudging.models.remote.servers.completions import CompletionParser
from standin import QUESTIONS, StandIn, remote


def chunk(text: str, tokens: list[str] | None, reason: str | None = None, probability: float = 0.5) -> Any:
    """Return a chunk whose tokens have this probability. None stands for a chunk without log-probabilities."""
    found = None
    if tokens is not None:
        logprobs = [math.log(probability) for _ in tokens]
        top = [{token: logprob} for token, logprob in zip(tokens, logprobs, strict=True)]
        found = {"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": top}
    return {"choices": [{"text": text, "logprobs": found, "finish_reason": reason}]}


@pytest.mark.parametrize(
    ("last", "steps"),
    [
        (chunk(" b", [" b"]), [(" b", False)]),
        (chunk(" b", [" b"], "length"), [(" b", False)]),
        (chunk(" b", [" b"], "stop"), [(" b", False), ("", True)]),  # the end token is not listed
        (chunk(" b", [" b", "<end>"], "stop"), [(" b", False), ("", True)]),  # the end token is listed
        (chunk("", ["<end>"], "stop"), [("", True)]),
        (chunk("", None, "stop"), [("", True)]),
        (chunk(" b c", [" b", " c"]), [(" b", False), (" c", False)]),
        (chunk("€", ["", "", "€"]), [("", False), ("", False), ("€", False)]),  # three tokens, one character
        (chunk(" b", ["<special>", " b"]), [("", False), (" b", False)]),
        (chunk(" b", ["\u2581b"]), [(" b", False)]),  # the token's string differs from the text
    ],
)
def test_a_chunk_becomes_steps(last: Any, steps: list[tuple[str, bool]]) -> None:
    parser = CompletionParser()
    parser.push(chunk(" a", [" a"]))
    assert [(step.text, step.end) for step in parser.push(last)] == steps


def test_a_step_has_the_probability_of_the_top_token_and_its_own() -> None:
    sampled = chunk(" b", [" b"], probability=0.25)
    sampled["choices"][0]["logprobs"]["top_logprobs"] = [{" a": math.log(0.5), " b": math.log(0.25)}]
    (step,) = CompletionParser().push(sampled)
    assert (step.text, step.probability, step.own_probability) == (" b", pytest.approx(0.5), pytest.approx(0.25))


def test_a_stream_that_ends_without_a_finish_reason_is_cut_off() -> None:
    parser = CompletionParser()
    parser.push(chunk(" a", [" a"]))
    with pytest.raises(CutOffError):
        parser.check_finished()
    parser.push(chunk(" b", [" b"], "length"))
    parser.check_finished()


def test_a_chunk_without_log_probabilities_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="no log-probabilities"):
        CompletionParser().push(chunk(" a", None))


@pytest.mark.enable_socket
def test_a_server_without_log_probabilities_is_refused(servers: tuple[StandIn, StandIn]) -> None:
    servers[1].logprobs = False
    with pytest.raises(UnsupportedModelError, match=r"nudging server at .* log-probabilities"):
        remote(servers).generate(QUESTIONS[0])


@pytest.mark.enable_socket
def test_answers_end_if_the_server_lists_no_end_token(servers: tuple[StandIn, StandIn], local: Nudger) -> None:
    for server in servers:
        server.lists_end = False
    assert remote(servers).generate(QUESTIONS[1]).pieces == local.generate(QUESTIONS[1]).pieces
