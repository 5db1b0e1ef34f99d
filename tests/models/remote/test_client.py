"""The client of a server: retries, the errors that end them, log messages, and API keys."""

import asyncio
import logging
import time
from typing import Any

import pytest
from nudging import Nudger, Prompts, ServerError, Step
from nudging.models.base import Session
from pydantic import SecretStr
from standin import QUESTIONS, StandIn, remote

from langchain_nudging import ChatNudging

pytestmark = [pytest.mark.enable_socket, pytest.mark.usefixtures("short_waits")]

KEY = "sk-very-secret"


FAULTS: list[list[Any]] = [
    [503],
    [429, 500, 502],
    ["reset"],
    [("cut", 0)],
    [None, ("cut", 2), None, ("cut", 5), ("cut", 1)],
    [None, "reset", ("cut", 3), 503],
]


@pytest.mark.parametrize("faults", FAULTS)
@pytest.mark.parametrize("side", [0, 1])
def test_a_failed_request_is_retried_and_changes_no_answer(
    servers: tuple[StandIn, StandIn], local: Nudger, side: int, faults: list[Any]
) -> None:
    expected = local.generate(QUESTIONS[0]).pieces
    servers[side].faults = list(faults)
    assert remote(servers).generate(QUESTIONS[0]).pieces == expected


@pytest.mark.parametrize("faults", FAULTS)
async def test_a_failed_request_is_retried_on_an_event_loop(
    servers: tuple[StandIn, StandIn], local: Nudger, faults: list[Any]
) -> None:
    expected = local.generate(QUESTIONS[0]).pieces
    servers[0].faults, servers[1].faults = list(faults), list(faults)
    assert (await remote(servers).agenerate(QUESTIONS[0])).pieces == expected


def test_a_retry_waits_as_long_as_the_server_asks(servers: tuple[StandIn, StandIn]) -> None:
    servers[1].faults = [(429, 0.5)]
    started = time.monotonic()
    remote(servers).generate(QUESTIONS[0])
    assert time.monotonic() - started > 0.5


def test_the_last_error_names_the_server_and_has_the_answer_so_far(
    servers: tuple[StandIn, StandIn], local: Nudger
) -> None:
    expected = local.generate(QUESTIONS[0]).text
    nudger = remote(servers, max_retries=2, base_api_key=KEY)
    servers[0].faults = [None, None, *[503] * 50]
    with pytest.raises(ServerError, match="the base server at http") as raised:
        nudger.generate(QUESTIONS[0])
    assert servers[0].url in str(raised.value)
    assert raised.value.answer is not None
    assert expected.startswith(raised.value.answer.text)
    assert KEY not in str(raised.value)
    assert len(servers[0].requests) == 5


@pytest.mark.parametrize(("status", "advice"), [(401, "base_api_key"), (404, "base_url"), (400, "not retried")])
def test_a_request_that_cannot_succeed_is_not_retried(
    servers: tuple[StandIn, StandIn], status: int, advice: str
) -> None:
    servers[0].faults = [status] * 9
    with pytest.raises(ServerError, match=advice) as raised:
        remote(servers, base_api_key=KEY).generate(QUESTIONS[0])
    assert len(servers[0].requests) == 1
    assert KEY not in str(raised.value)


def test_a_server_that_does_not_answer_is_named(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/v1"
    nudger = Nudger("big", "small", base_url=url, nudging_url=url, max_retries=1)
    with pytest.raises(ServerError, match=str(unused_tcp_port)):
        nudger.generate(Prompts("a", "b"))


# log messages


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record for record in caplog.records if record.name == "nudging"]
    assert all(record.levelno == logging.WARNING for record in found)
    return [record.getMessage() for record in found]


def test_an_outage_is_logged_once_and_names_the_server_and_max_retries(
    servers: tuple[StandIn, StandIn], caplog: pytest.LogCaptureFixture
) -> None:
    session = remote(servers, max_retries=4).base_model.session("why", author="base")
    servers[0].faults = [503, 500, ("cut", 1)]
    assert list(session.steps(" not", 8))
    (message,) = warnings(caplog)
    assert f"the base server at {servers[0].url}" in message
    assert "503" in message
    assert "up to 4 times (max_retries)" in message
    assert list(session.steps(" so", 8))
    assert len(warnings(caplog)) == 1


async def test_requests_that_fail_in_one_outage_are_logged_once(
    servers: tuple[StandIn, StandIn], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # all four requests fail before the first is retried
    monkeypatch.setattr("nudging.models.remote.client.wait_random_exponential", lambda **_: lambda _: 0.5)
    model = remote(servers).base_model
    servers[0].faults = [503] * 4

    async def steps(session: Session) -> list[Step]:
        return [step async for step in session.asteps(" not", 8)]

    first, *others = await asyncio.gather(*(steps(model.session("why", author="base")) for _ in range(4)))
    assert first
    assert others == [first] * 3
    assert len(servers[0].requests) == 8
    assert len(warnings(caplog)) == 1


async def test_a_later_outage_is_logged_again(
    servers: tuple[StandIn, StandIn], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = remote(servers).base_model.session("why", author="base")
    for interval, logged in ((60.0, 1), (60.0, 1), (0.0, 2)):
        monkeypatch.setattr("nudging.models.remote.client.LOG_INTERVAL", interval)
        servers[0].faults = [503]
        assert [step async for step in session.asteps(" not", 8)]
        assert len(warnings(caplog)) == logged


def test_no_key_is_logged(servers: tuple[StandIn, StandIn], caplog: pytest.LogCaptureFixture) -> None:
    session = remote(servers, base_api_key=KEY).base_model.session("why", author="base")
    servers[0].faults = [503]  # the stand-in sends the key back in its error
    assert list(session.steps(" not", 8))
    assert warnings(caplog)
    assert KEY not in caplog.text


# API keys


def test_a_key_is_sent_and_shown_nowhere(servers: tuple[StandIn, StandIn]) -> None:
    nudger = remote(servers, base_api_key=KEY, nudging_api_key=SecretStr(KEY))
    nudger.generate(QUESTIONS[0])
    assert {headers["authorization"] for server in servers for headers in server.headers} == {f"Bearer {KEY}"}
    chat = ChatNudging(base_model="big", nudging_model="small", base_url=servers[0].url, base_api_key=KEY)
    shown = [
        nudger,
        nudger.base_model,
        nudger.identity,
        chat,
        chat._identifying_params,
        chat.model_dump(),
        vars(nudger),
    ]
    assert not any(KEY in repr(one) for one in shown)
