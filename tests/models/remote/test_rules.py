"""Every rule on a pair of servers: one answer, as in this process, and errors that come with the answer so far."""

import asyncio
import time
from collections.abc import Callable, Iterable
from itertools import accumulate, pairwise
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from nudging import Nudger, ServerError, UnsupportedModelError
from nudging.step import Step
from standin import QUESTIONS, StandIn, remote

pytestmark = [pytest.mark.enable_socket, pytest.mark.usefixtures("short_waits")]

CASES = [
    {"rule": "words", "threshold": 0.2, "end": 0.02},
    {"rule": "tokens", "threshold": 0.1, "end": 0.0},
    {"rule": "tokens", "threshold": 0.1, "end": 0.02},
    {"rule": "bet", "bet": 0.1, "end": 0.0},
    {"rule": "bet", "bet": 0.1, "end": 0.02},
]
RUN = [" not", " so", " is", "."]
"""Text of the base model, for `checks`."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['rule']}-{case['end']}")
async def test_every_rule_gives_the_answer_of_the_same_models_in_this_process(
    servers: tuple[StandIn, StandIn], local: Nudger, case: dict[str, Any]
) -> None:
    nudger = remote(servers, max_tokens=12, **case)
    expected = [local.generate(question, max_tokens=12, **case) for question in QUESTIONS]
    answers = await nudger.agenerate_many(QUESTIONS)
    for answer, same in zip(answers, expected, strict=True):
        assert (answer.pieces, answer.finish_reason) == (same.pieces, same.finish_reason)
        assert answer.usage.completion_tokens <= 12
        assert all(later.round - piece.round >= 0 for piece, later in pairwise(answer.pieces))
    assert [answer.pieces for answer in nudger.generate_many(QUESTIONS[:2])] == [same.pieces for same in expected[:2]]
    assert tuple(nudger.stream(QUESTIONS[2])) == expected[2].pieces
    assert tuple([piece async for piece in nudger.astream(QUESTIONS[2])]) == expected[2].pieces


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['rule']}-{case['end']}")
async def test_a_server_that_stops_where_it_is_unsure_gives_the_same_answers(
    servers: tuple[StandIn, StandIn], case: dict[str, Any]
) -> None:
    plain = [remote(servers, max_tokens=24, **case).generate(question) for question in QUESTIONS]
    assert not any("vllm_xargs" in request for request in servers[0].requests)
    servers[0].stops = True
    servers[0].requests.clear()
    nudger = remote(servers, max_tokens=24, timeout=50, **case)  # another timeout, so another client
    answers = await nudger.agenerate_many(QUESTIONS)
    assert [answer.pieces for answer in answers] == [answer.pieces for answer in plain]
    assert [nudger.generate(question).pieces for question in QUESTIONS] == [answer.pieces for answer in plain]
    assert any("vllm_xargs" in request for request in servers[0].requests) == (case["rule"] != "bet")


@pytest.mark.parametrize("case", CASES[::2], ids=lambda case: f"{case['rule']}-{case['end']}")
def test_limits_hold_on_servers(servers: tuple[StandIn, StandIn], case: dict[str, Any]) -> None:
    nudger = remote(servers, max_tokens=12, **case)
    answer = nudger.generate(QUESTIONS[1])
    assert nudger.generate(QUESTIONS[1], max_tokens=3).usage.completion_tokens <= 3
    middle = len(answer.text) // 2
    stop = answer.text[middle : middle + 3]
    assert nudger.generate(QUESTIONS[1], stop=stop).text == answer.text[: answer.text.find(stop)]
    long = nudger.generate("the sky is blue and the sun is far away " * 20, max_tokens=500)
    assert long.finish_reason
    assert long.usage.total_tokens <= nudger.context_length


@pytest.mark.parametrize("side", ["base", "nudging", "both"])
def test_a_blend_is_refused_before_anything_is_decoded(
    servers: tuple[StandIn, StandIn], tiny_base: Path, tiny_nudging: Path, side: str
) -> None:
    base, nudging = servers
    names: dict[str, Any] = {"base": (base.name, tiny_nudging), "nudging": (tiny_base, nudging.name)}
    urls = {"base_url": base.url} if side == "base" else {"nudging_url": nudging.url}
    blend = Nudger(*names[side], **urls) if side in names else remote(servers)
    with pytest.raises(UnsupportedModelError, match="'blend' needs that: choose rule='words', 'tokens' or 'bet'"):
        blend.stream(QUESTIONS[0], rule="blend")
    assert not base.requests
    assert not nudging.requests


# checks


def rounded(steps: Iterable[Step]) -> list[tuple[str, float, bool]]:
    """Return steps with their probabilities to four digits: the server feeds different numbers of tokens at once."""
    return [(step.text, round(step.probability, 4), step.end) for step in steps]


def test_checks_are_the_first_steps(servers: tuple[StandIn, StandIn]) -> None:
    nudging = remote(servers).nudging_model
    session = nudging.session("why", author="nudging")
    fresh = [nudging.session("why", author="nudging").steps(text, 9) for text in accumulate(("", *RUN))]
    expected = rounded(next(steps) for steps in fresh)
    assert rounded(session.checks("", RUN)) == expected
    assert rounded(session.checks("", [])) == expected[:1]
    assert rounded(asyncio.run(session.achecks("", RUN))) == expected
    usage = session.usage()
    assert (usage.requests, usage.forward_passes) == (11, 11)


FULL = "b" * 600
"""More than the context of the stand-ins has room for."""


async def test_checks_end_where_the_context_is_full(servers: tuple[StandIn, StandIn]) -> None:
    session = remote(servers).nudging_model.session("why", author="nudging")
    for found in (session.checks("", [" so", FULL, " so"]), await session.achecks("", [" so", FULL, " so"])):
        assert len(found) == 2
    assert session.checks(FULL, []) == await session.achecks(FULL, []) == []


async def test_checks_stay_in_order_where_a_longer_text_has_fewer_tokens(
    servers: tuple[StandIn, StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step after a text that does not fit is not taken for that of a shorter one."""
    session: Any = remote(servers).nudging_model.session("why", author="nudging")
    request = session._request
    monkeypatch.setattr(session, "_request", lambda opened: None if opened.text == " not" else request(opened))
    assert len(session.checks("", RUN)) == len(await session.achecks("", RUN)) == 1


@pytest.mark.parametrize("faults", [[503], ["reset", 429], [("cut", 0), None, 500], [("cut", 1)] * 3], ids=str)
async def test_a_check_that_fails_is_repeated(servers: tuple[StandIn, StandIn], faults: list[Any]) -> None:
    session = remote(servers).nudging_model.session("why", author="nudging")
    expected = rounded(session.checks("", RUN))
    servers[1].faults = [*faults]
    assert rounded(session.checks("", RUN)) == expected
    servers[1].faults = [*faults]
    assert rounded(await session.achecks("", RUN)) == expected


@pytest.mark.parametrize(
    ("case", "fault"), [(CASES[0], 503), (CASES[2], 401), (CASES[4], 503)], ids=["words", "tokens", "bet"]
)
async def test_an_error_of_a_check_comes_with_the_answer_so_far(
    servers: tuple[StandIn, StandIn], case: dict[str, Any], fault: int
) -> None:
    nudger = remote(servers, max_retries=1, max_tokens=12, **case)
    whole = nudger.generate(QUESTIONS[1])
    requests = whole.usage.nudging.requests
    for before in (requests // 2, requests - 1):
        servers[1].faults = [*[None] * before, *[fault] * 40]
        with pytest.raises(ServerError, match="the nudging server") as raised:
            nudger.generate(QUESTIONS[1])
        servers[1].faults = [*[None] * before, *[fault] * 40]
        with pytest.raises(ServerError, match="the nudging server") as araised:
            await nudger.agenerate(QUESTIONS[1])
        for error in (raised.value, araised.value):
            assert error.answer is not None
            assert error.answer.pieces == whole.pieces[: len(error.answer.pieces)]
        servers[1].faults = []
        assert nudger.generate(QUESTIONS[1]).pieces == whole.pieces


class Waiting:
    """Lets a stand-in wait for `go` before each answer. Refused requests are refused at once."""

    def __init__(self, standin: StandIn) -> None:
        self.model, self.go = standin.model, Event()
        standin.model = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def session(self, *args: Any, **options: Any) -> Any:
        self.go.wait(20)
        return self.model.session(*args, **options)


def is_soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_an_error_of_one_check_does_not_wait_for_the_others(servers: tuple[StandIn, StandIn]) -> None:
    session = remote(servers).nudging_model.session("why", author="nudging")
    servers[1].faults = [401]
    waiting = Waiting(servers[1])
    with pytest.raises(ServerError):
        session.checks("", RUN)
    assert is_soon(lambda: servers[1].running == len(RUN))
    waiting.go.set()
    assert is_soon(lambda: not servers[1].running)


async def test_an_error_of_one_check_cancels_the_others(servers: tuple[StandIn, StandIn]) -> None:
    session = remote(servers).nudging_model.session("why", author="nudging")
    servers[1].faults = [401, *[503] * 100]  # the others would be retried
    others = asyncio.all_tasks()
    with pytest.raises(ServerError, match="nudging_api_key"):
        await session.achecks("", RUN)
    assert asyncio.all_tasks() == others
    sent = len(servers[1].requests)
    await asyncio.sleep(0.2)
    assert len(servers[1].requests) <= sent + len(RUN)


async def test_cancelling_checks_cancels_their_requests(servers: tuple[StandIn, StandIn]) -> None:
    session = remote(servers).nudging_model.session("why", author="nudging")
    waiting = Waiting(servers[1])
    others = asyncio.all_tasks()
    work = asyncio.create_task(session.achecks("", RUN))
    assert await asyncio.to_thread(is_soon, lambda: servers[1].running > 0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    waiting.go.set()
    assert asyncio.all_tasks() == others


async def test_checks_wait_for_a_free_slot(servers: tuple[StandIn, StandIn], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nudging.models.remote.servers.vllm.VllmServer.at_once", 2)
    session = remote(servers, timeout=59.0).nudging_model.session("why", author="nudging")
    found = session.checks("", RUN)
    assert len(found) == len(await session.achecks("", RUN)) == 5
    assert servers[1].most_running <= 2


@pytest.mark.parametrize("case", CASES[::2], ids=lambda case: f"{case['rule']}-{case['end']}")
async def test_a_closed_stream_frees_both_servers(servers: tuple[StandIn, StandIn], case: dict[str, Any]) -> None:
    nudger = remote(servers, max_tokens=12, **case)
    expected = nudger.generate(QUESTIONS[1]).pieces
    with nudger.stream(QUESTIONS[1], max_tokens=300) as stream:
        next(stream)
    async with nudger.astream(QUESTIONS[1], max_tokens=300) as astream:
        await anext(astream)
    assert is_soon(lambda: not servers[0].running + servers[1].running)
    assert nudger.generate(QUESTIONS[1]).pieces == expected
