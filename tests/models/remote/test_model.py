"""Models on servers answer as the same models do in this process. The servers are stand-ins (`standin.py`)."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from nudging import ContextLengthError, ModelNotFoundError, Nudger, SettingsError
from standin import QUESTIONS, StandIn, remote

pytestmark = [pytest.mark.enable_socket, pytest.mark.usefixtures("short_waits")]


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


@pytest.mark.standard
async def test_one_event_loop_runs_many_answers_at_once(servers: tuple[StandIn, StandIn], local: Nudger) -> None:
    expected = [local.generate(question).pieces for question in QUESTIONS]
    answers = await remote(servers).agenerate_many(QUESTIONS * 8, at_once=24)
    assert [answer.pieces for answer in answers] == expected * 8
    assert servers[0].most_running > 4 or servers[1].most_running > 4


def test_an_answer_ends_where_the_servers_context_does(servers: tuple[StandIn, StandIn], local: Nudger) -> None:
    long = "the sky is blue and the sun is far away " * 20
    answer = remote(servers, max_tokens=500, threshold=0.05).generate(long)
    assert answer.pieces == local.generate(long, max_tokens=500, threshold=0.05).pieces


def test_models_are_shared_only_among_equal_keys(servers: tuple[StandIn, StandIn]) -> None:
    nudgers = [remote(servers, base_api_key=key) for key in ("one", "two", "one")]
    models = [nudger.base_model for nudger in nudgers]
    assert models[0] is models[2]
    assert all(one is not other for one, other in pairwise(models))


# what is refused


def test_the_error_for_an_unknown_model_names_those_that_are_served(servers: tuple[StandIn, StandIn]) -> None:
    with pytest.raises(ModelNotFoundError, match="no model 'huge': it serves 'big'"):
        remote(servers, base_model="huge").load()


def test_a_prompt_longer_than_the_servers_context_is_refused_before_it_is_sent(
    servers: tuple[StandIn, StandIn],
) -> None:
    with pytest.raises(ContextLengthError):
        remote(servers).generate("the sky is blue " * 400)
    assert not servers[0].requests


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "http://user:pass@host/v1"])
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="base_url") as raised:
        Nudger("a", "b", base_url=url).base_model  # noqa: B018
    assert "pass@" not in str(raised.value)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": float("nan")}, {"max_retries": -1}])
def test_a_timeout_or_number_of_retries_out_of_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(options))):
        Nudger("a", "b", **options)
