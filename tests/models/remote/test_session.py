"""Sessions on a server: the requests of an answer, prefetching, and streams that are closed early."""

import asyncio
import re
import time
from typing import Any

import pytest
from standin import QUESTIONS, StandIn, remote

pytestmark = [pytest.mark.enable_socket, pytest.mark.usefixtures("short_waits")]


def test_a_round_needs_one_request_for_its_proposal(
    servers: tuple[StandIn, StandIn],
) -> None:
    answer = remote(servers).generate(QUESTIONS[0])
    assert answer.usage.nudging.requests <= len(answer.rounds) + 1
    assert len(servers[1].requests) == answer.usage.nudging.requests


def test_all_requests_of_a_prompt_have_one_session_id_for_routers(servers: tuple[StandIn, StandIn]) -> None:
    def ids(question: str, **options: Any) -> list[set[str]]:
        for server in servers:
            server.headers.clear()
        remote(servers).generate(question, **options)
        return [{found for one in server.headers if (found := one.get("x-session-id"))} for server in servers]

    first = ids(QUESTIONS[0])
    assert [len(found) for found in first] == [1, 1]
    assert all(re.fullmatch("[0-9a-f]{16}", one) for found in first for one in found)
    assert ids(QUESTIONS[0], threshold=0.4) == first
    assert not first[0] & ids(QUESTIONS[1])[0]


# prefetching


PREFETCH_FAULTS: list[list[Any]] = [[], [503], ["reset"], [("cut", 1)]]


@pytest.mark.parametrize("faults", PREFETCH_FAULTS, ids=str)
def test_prefetched_steps_are_requested_once(servers: tuple[StandIn, StandIn], faults: list[Any]) -> None:
    base = remote(servers).base_model
    expected = list(base.session("why", author="base").steps(" not", 8))
    servers[0].requests.clear()
    session = base.session("why", author="base")
    servers[0].faults = [*faults]
    session.prefetch(" not", 8)
    assert len(servers[0].requests) == 1
    assert list(session.steps(" not", 8)) == expected
    assert len(servers[0].requests) == 1 + len(faults)


@pytest.mark.parametrize("faults", PREFETCH_FAULTS, ids=str)
async def test_prefetched_steps_are_requested_once_on_an_event_loop(
    servers: tuple[StandIn, StandIn], faults: list[Any]
) -> None:
    base = remote(servers).base_model
    expected = list(base.session("why", author="base").steps(" not", 8))
    servers[0].requests.clear()
    session = base.session("why", author="base")
    servers[0].faults = [*faults]
    await session.aprefetch(" not", 8)
    assert len(servers[0].requests) == 1
    assert [step async for step in session.asteps(" not", 8)] == expected
    assert len(servers[0].requests) == 1 + len(faults)


def test_an_unneeded_prefetch_is_closed_and_changes_no_step(servers: tuple[StandIn, StandIn]) -> None:
    base = remote(servers, max_retries=0).base_model
    expected = list(base.session("why", author="base").steps(" not", 8))
    session = base.session("why", author="base")
    session.prefetch(" so", 1000)
    assert list(session.steps(" not", 8)) == expected
    session.prefetch(" so", 1000)
    session.close()
    servers[0].faults = [500]
    session.prefetch(" so", 1000)  # a failed prefetch raises only if its steps are asked for
    session.close()
    session.prefetch(" so", 1000)
    assert list(session.steps(" not", 8)) == expected


def test_nothing_is_prefetched_from_a_busy_server(
    servers: tuple[StandIn, StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_prefetch = remote(servers).generate(QUESTIONS[0])
    monkeypatch.setattr("nudging.models.remote.servers.server.Server.prefetch_below", 0)
    without = remote(servers).generate(QUESTIONS[0])
    assert without.pieces == with_prefetch.pieces
    assert without.usage.base.requests <= with_prefetch.usage.base.requests <= without.usage.base.requests + 1


# streams that are closed early


def test_a_closed_stream_closes_its_request(servers: tuple[StandIn, StandIn]) -> None:
    stream = remote(servers, threshold=0.0, max_tokens=300).stream(QUESTIONS[0])
    next(stream)
    stream.close()
    deadline = time.monotonic() + 5
    while servers[0].running + servers[1].running and time.monotonic() < deadline:
        time.sleep(0.02)
    assert servers[0].running == servers[1].running == 0


async def test_cancelling_closes_the_request(servers: tuple[StandIn, StandIn]) -> None:
    work = asyncio.create_task(remote(servers, threshold=0.0, max_tokens=300).agenerate(QUESTIONS[0]))
    for _ in range(500):
        if servers[0].requests:
            break
        await asyncio.sleep(0.01)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    for _ in range(250):
        if not servers[0].running:
            break
        await asyncio.sleep(0.02)
    assert servers[0].running == 0
