"""Models behind a server: the same answers as in this process, few requests, and none lost when the server fails.

The server is a stand-in of this process (`standin.py`).
"""

import asyncio
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from nudging import (
    ChatTemplateError,
    ContextLengthError,
    GrammarError,
    ModelNotFoundError,
    Nudger,
    Prompts,
    ServerError,
    SettingsError,
    UnsupportedModelError,
)
from nudging.models.local.model import LocalModel
from pydantic import SecretStr
from standin import StandIn, standing_in

from langchain_nudging import ChatNudging

pytestmark = pytest.mark.enable_socket

QUESTIONS = ["why is the sky blue?", "are whales far away?", "🌍 go there"]
KEY = "sk-very-secret"


@pytest.fixture
def servers(tiny_base: Path, tiny_nudging: Path) -> Iterator[tuple[StandIn, StandIn]]:
    with standing_in(tiny_base, name="big") as base, standing_in(tiny_nudging, name="small") as nudging:
        yield base, nudging


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nudging.models.remote.client.wait_random_exponential", lambda **_: lambda _: 0.01)


@pytest.fixture
def local(tiny_base: Path, tiny_nudging: Path) -> Nudger:
    return Nudger(LocalModel(tiny_base), LocalModel(tiny_nudging), threshold=0.2, max_tokens=24)


def remote(servers: tuple[StandIn, StandIn], **options: Any) -> Nudger:
    base, nudging = servers
    names: dict[str, Any] = {"base_model": base.name, "nudging_model": nudging.name}
    urls = {"base_url": base.url, "nudging_url": nudging.url}
    return Nudger(**{**names, **urls, "threshold": 0.2, "max_tokens": 24, **options})


def test_the_answers_are_those_of_the_same_models_in_this_process(
    servers: tuple[StandIn, StandIn], local: Nudger
) -> None:
    nudger = remote(servers)
    for question in QUESTIONS:
        assert nudger.prompts(question) == local.prompts(question)
        assert nudger.generate(question).pieces == local.generate(question).pieces


@pytest.mark.parametrize("side", ["base", "nudging"])
def test_either_model_may_be_on_a_server(
    servers: tuple[StandIn, StandIn], local: Nudger, tiny_base: Path, tiny_nudging: Path, side: str
) -> None:
    base, nudging = servers
    if side == "base":
        mixed = Nudger(base.name, tiny_nudging, base_url=base.url, threshold=0.2, max_tokens=24)
    else:
        mixed = Nudger(tiny_base, nudging.name, nudging_url=nudging.url, threshold=0.2, max_tokens=24)
    assert mixed.generate(QUESTIONS[0]).pieces == local.generate(QUESTIONS[0]).pieces


def test_a_server_that_lists_no_end_token_ends_answers_all_the_same(
    servers: tuple[StandIn, StandIn], local: Nudger
) -> None:
    for server in servers:
        server.lists_end = False
    assert remote(servers).generate(QUESTIONS[1]).pieces == local.generate(QUESTIONS[1]).pieces


def test_a_server_without_its_tokenizer_works_with_one_from_elsewhere(
    servers: tuple[StandIn, StandIn], local: Nudger, tiny_base: Path, tiny_nudging: Path
) -> None:
    for server in servers:
        server.tokenizes = False
    nudger = remote(servers, base_tokenizer=str(tiny_base), nudging_tokenizer=str(tiny_nudging))
    conversation = [{"role": "system", "content": "the sun"}, {"role": "user", "content": QUESTIONS[0]}]
    assert nudger.prompts(conversation) == local.prompts(conversation)
    for question in QUESTIONS:
        assert nudger.generate(question).pieces == local.generate(question).pieces


def test_a_server_without_its_tokenizer_is_told_of_and_what_to_do(servers: tuple[StandIn, StandIn]) -> None:
    servers[0].tokenizes = False
    with pytest.raises(UnsupportedModelError, match=r"/tokenize.*base_tokenizer"):
        remote(servers).generate(QUESTIONS[0])
    servers[1].tokenizes = False
    with pytest.raises(ChatTemplateError, match="nudging_tokenizer"):
        remote(servers).generate(QUESTIONS[0])
    with pytest.raises(SettingsError, match="base_url"):
        Nudger("big", "small", base_tokenizer="big")


async def test_one_event_loop_carries_many_answers(servers: tuple[StandIn, StandIn], local: Nudger) -> None:
    expected = [local.generate(question).pieces for question in QUESTIONS]
    answers = await remote(servers).agenerate_many(QUESTIONS * 8, at_once=24)
    assert [answer.pieces for answer in answers] == expected * 8
    assert servers[0].most_running > 4 or servers[1].most_running > 4


def test_no_round_costs_more_than_a_request_for_each_boundary_and_one_proposal(
    servers: tuple[StandIn, StandIn],
) -> None:
    answer = remote(servers).generate(QUESTIONS[0])
    assert answer.usage.nudging.requests <= len(answer.rounds) + 1
    assert len(servers[1].requests) == answer.usage.nudging.requests


# asked before it is needed


EXPECTING: list[list[Any]] = [[], [503], ["reset"], [("cut", 1)]]


@pytest.mark.parametrize("faults", EXPECTING, ids=str)
def test_what_is_expected_is_on_its_way_and_asked_once(servers: tuple[StandIn, StandIn], faults: list[Any]) -> None:
    base = remote(servers).base_model
    wanted = list(base.session("why", author="base").steps(" not", 8))
    servers[0].requests.clear()
    session = base.session("why", author="base")
    servers[0].faults = [*faults]
    session.prefetch(" not", 8)
    assert len(servers[0].requests) == 1
    assert list(session.steps(" not", 8)) == wanted
    assert len(servers[0].requests) == 1 + len(faults)


@pytest.mark.parametrize("faults", EXPECTING, ids=str)
async def test_so_it_is_on_an_event_loop(servers: tuple[StandIn, StandIn], faults: list[Any]) -> None:
    base = remote(servers).base_model
    wanted = list(base.session("why", author="base").steps(" not", 8))
    servers[0].requests.clear()
    session = base.session("why", author="base")
    servers[0].faults = [*faults]
    await session.aprefetch(" not", 8)
    assert len(servers[0].requests) == 1
    assert [step async for step in session.asteps(" not", 8)] == wanted
    assert len(servers[0].requests) == 1 + len(faults)


def test_what_was_expected_in_vain_is_closed_and_harms_nothing(servers: tuple[StandIn, StandIn]) -> None:
    base = remote(servers, max_retries=0).base_model
    wanted = list(base.session("why", author="base").steps(" not", 8))
    session = base.session("why", author="base")
    session.prefetch(" so", 1000)
    assert list(session.steps(" not", 8)) == wanted
    session.prefetch(" so", 1000)
    session.close()
    servers[0].faults = [500]
    session.prefetch(" so", 1000)  # a failure is nobody's before somebody asks
    session.close()
    session.prefetch(" so", 1000)
    assert list(session.steps(" not", 8)) == wanted


def test_a_busy_server_is_asked_for_nothing_that_may_not_be_needed(
    servers: tuple[StandIn, StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = remote(servers).generate(QUESTIONS[0])
    monkeypatch.setattr("nudging.models.remote.client.PREFETCH_BELOW", 0)
    frugal = remote(servers).generate(QUESTIONS[0])
    assert frugal.pieces == eager.pieces
    assert frugal.usage.base.requests <= eager.usage.base.requests <= frugal.usage.base.requests + 1


# failures


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
def test_a_failure_costs_a_delay_and_no_more(
    servers: tuple[StandIn, StandIn], local: Nudger, side: int, faults: list[Any]
) -> None:
    expected = local.generate(QUESTIONS[0]).pieces
    servers[side].faults = list(faults)
    assert remote(servers).generate(QUESTIONS[0]).pieces == expected


@pytest.mark.parametrize("faults", FAULTS)
async def test_so_it_does_on_an_event_loop(servers: tuple[StandIn, StandIn], local: Nudger, faults: list[Any]) -> None:
    expected = local.generate(QUESTIONS[0]).pieces
    servers[0].faults, servers[1].faults = list(faults), list(faults)
    assert (await remote(servers).agenerate(QUESTIONS[0])).pieces == expected


def test_a_server_that_asks_for_time_gets_it(servers: tuple[StandIn, StandIn]) -> None:
    servers[1].faults = [(429, 0.5)]
    started = time.monotonic()
    remote(servers).generate(QUESTIONS[0])
    assert time.monotonic() - started > 0.5


def test_when_it_gives_up_the_error_says_where_and_has_the_answer_so_far(
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


@pytest.mark.parametrize(("status", "advice"), [(401, "base_api_key"), (404, "base_url"), (400, "would not help")])
def test_what_cannot_succeed_fails_at_once(servers: tuple[StandIn, StandIn], status: int, advice: str) -> None:
    servers[0].faults = [status] * 9
    with pytest.raises(ServerError, match=advice) as raised:
        remote(servers, base_api_key=KEY).generate(QUESTIONS[0])
    assert len(servers[0].requests) == 1
    assert KEY not in str(raised.value)


def test_a_server_that_is_not_there_is_named(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/v1"
    nudger = Nudger("big", "small", base_url=url, nudging_url=url, max_retries=1)
    with pytest.raises(ServerError, match=str(unused_tcp_port)):
        nudger.generate(Prompts("a", "b"))


# streams


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


# what cannot be


def test_a_server_without_log_probabilities_is_refused(servers: tuple[StandIn, StandIn]) -> None:
    servers[1].logprobs = False
    with pytest.raises(UnsupportedModelError, match=r"nudging server at .* log-probabilities"):
        remote(servers).generate(QUESTIONS[0])


def test_a_model_that_is_not_served_is_named_with_those_that_are(servers: tuple[StandIn, StandIn]) -> None:
    with pytest.raises(ModelNotFoundError, match="no model 'huge': it serves 'big'"):
        remote(servers, base_model="huge").load()


def test_a_schema_needs_local_models(servers: tuple[StandIn, StandIn]) -> None:
    with pytest.raises(GrammarError, match="on a server"):
        remote(servers).generate(QUESTIONS[0], schema={"type": "object"})


def test_a_prompt_longer_than_the_servers_context_is_refused_before_it_is_sent(
    servers: tuple[StandIn, StandIn],
) -> None:
    with pytest.raises(ContextLengthError):
        remote(servers).generate("the sky is blue " * 400)
    assert not servers[0].requests


def test_an_answer_ends_where_the_servers_context_does(servers: tuple[StandIn, StandIn], local: Nudger) -> None:
    long = "the sky is blue and the sun is far away " * 20
    answer = remote(servers, max_tokens=500, threshold=0.05).generate(long)
    assert answer.pieces == local.generate(long, max_tokens=500, threshold=0.05).pieces


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "http://user:pass@host/v1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="base_url") as raised:
        Nudger("a", "b", base_url=url).base_model  # noqa: B018
    assert "pass@" not in str(raised.value)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": float("nan")}, {"max_retries": -1}])
def test_patience_out_of_its_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="timeout"):
        Nudger("a", "b", **options)


# secrets


def test_a_key_is_sent_and_seen_nowhere_else(servers: tuple[StandIn, StandIn]) -> None:
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


def test_a_session_of_one_model_is_not_one_of_another_key(servers: tuple[StandIn, StandIn]) -> None:
    nudgers = [remote(servers, base_api_key=key) for key in ("one", "two", "one")]
    models = [nudger.base_model for nudger in nudgers]
    assert models[0] is models[2]
    assert all(one is not other for one, other in pairwise(models))
