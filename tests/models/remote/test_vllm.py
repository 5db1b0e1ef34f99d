"""Both models on real vLLM servers on this machine: golden transcripts, failures, schemas, and many answers at once.

The base server has nudging-vllm, so every test runs with it unless it says `hints=False`: then no threshold is sent.
The nudging model's `generation_config.json` has a repetition penalty, so every test shows that it changes no answer.
"""

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from nudging import Answer, Nudger, Prompts, ServerError
from proxy import CuttingProxy
from pydantic import BaseModel
from random_schemas import random_object_schema, random_schema
from test_golden import CASES, check
from vllm_server import VLLM

pytestmark = [pytest.mark.vllm, pytest.mark.enable_socket]

QUESTIONS = [
    f"Tell me something about {topic}."
    for topic in ["bees", "bread", "chess", "clouds", "coffee", "cotton", "ferns", "glass"]
]
CUTS = 20
WITHOUT_HINTS = {"rag", "unicode"}


def remote(servers: tuple[VLLM, VLLM], **options: Any) -> Nudger:
    base, nudging = servers
    urls = {"base_url": f"{base.root}/v1", "nudging_url": f"{nudging.root}/v1"}
    return Nudger("base", "nudging", **urls, **options)


def answer(nudger: Nudger, case: dict[str, Any]) -> Answer:
    prompts = Prompts(base=case["base_prompt"], nudging=case["nudge_prompt"])
    return nudger.generate(prompts, threshold=case["gamma"], max_tokens=case["max_tokens"] * 3 // 2)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES])
def test_the_transcripts_of_the_authors_program_are_reproduced(
    vllm_servers: tuple[VLLM, VLLM], case: dict[str, Any]
) -> None:
    found = answer(remote(vllm_servers), case)
    check(found, case)
    usage = found.usage
    assert usage.nudging.requests <= len(found.rounds) + 1  # the last proposal may be empty
    if case["stop_reason"] == "nudging_model_stop":  # the same answer
        # one prefetch was not needed, because the answer ended, and a round may accept a token that the server stops at
        assert usage.base.requests <= case["base_calls"] + 1 + len(found.rounds)
        assert usage.base.forward_passes <= case["base_steps"]


def test_only_the_base_server_has_the_package(vllm_servers: tuple[VLLM, VLLM]) -> None:
    nudger = remote(vllm_servers)
    models: Any = (nudger.base_model, nudger.nudging_model)
    assert [model.server.stops_when_unsure for model in models] == [True, False]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES if case["id"] in WITHOUT_HINTS])
def test_without_the_package_the_answers_are_the_same(vllm_servers: tuple[VLLM, VLLM], case: dict[str, Any]) -> None:
    found, plain = answer(remote(vllm_servers), case), answer(remote(vllm_servers, hints=False), case)
    check(plain, case)
    assert found.pieces == plain.pieces
    if case["stop_reason"] == "nudging_model_stop":  # no more requests than the authors' program made
        assert plain.usage.base.requests <= case["base_calls"] + 1


@pytest.mark.parametrize("question", QUESTIONS[:2])
def test_without_the_package_a_seed_gives_the_same_answer(vllm_servers: tuple[VLLM, VLLM], question: str) -> None:
    options: Any = {"temperature": 0.8, "top_p": 0.9, "seed": 3, "max_tokens": 32}
    texts = [remote(vllm_servers, hints=hints, **options).generate(question).text for hints in (True, False)]
    assert texts[0] == texts[1]


def test_the_base_server_decodes_few_tokens_that_are_not_needed(vllm_servers: tuple[VLLM, VLLM]) -> None:
    decoded = []
    for hints in (True, False):
        before = vllm_servers[0].metric("generation_tokens_total")
        answers = remote(vllm_servers, hints=hints, max_tokens=32).generate_many(QUESTIONS * 2, at_once=16)
        time.sleep(0.5)
        tokens = sum(answer.usage.completion_tokens for answer in answers)
        decoded.append((vllm_servers[0].metric("generation_tokens_total") - before) / tokens)
    print(f"base tokens decoded per token: {decoded[0]:.2f} with the package, {decoded[1]:.2f} without")
    assert decoded[0] < min(1.2, decoded[1])


def test_prompts_are_those_of_the_local_models(vllm_servers: tuple[VLLM, VLLM], demo: Nudger) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 🌍?"}]
    assert remote(vllm_servers).prompts(messages) == demo.prompts(messages)
    assert remote(vllm_servers).count_tokens(messages) == demo.count_tokens(messages)


def test_log_probabilities_are_those_of_the_local_model(vllm_servers: tuple[VLLM, VLLM], demo: Nudger) -> None:
    options: Any = {"max_tokens": 20, "logprobs": True}
    found, expected = (nudger.generate(QUESTIONS[0], **options) for nudger in (remote(vllm_servers), demo))
    assert found.text == expected.text
    assert found.logprobs is not None
    assert expected.logprobs is not None
    assert [one.token for one in found.logprobs] == [one.token for one in expected.logprobs]
    for one, other in zip(found.logprobs, expected.logprobs, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3)
    scored, as_here = (nudger.scorer(QUESTIONS[0], 3).score(found.text) for nudger in (remote(vllm_servers), demo))
    for one, other in zip(scored, as_here, strict=True):
        assert [top.token for top in one.alternatives] == [top.token for top in other.alternatives]


def test_a_closed_stream_stops_the_servers(vllm_servers: tuple[VLLM, VLLM]) -> None:
    stream = remote(vllm_servers, threshold=0.0, max_tokens=1000).stream(QUESTIONS[1])
    for _ in range(5):
        next(stream)
    stream.close()
    time.sleep(0.5)
    for server in vllm_servers:
        assert server.metric("num_requests_running") == 0
    before = [server.metric("generation_tokens_total") for server in vllm_servers]
    time.sleep(1)
    assert [server.metric("generation_tokens_total") for server in vllm_servers] == before


@pytest.mark.parametrize("killed", [0, 1], ids=["base", "nudging"])
def test_a_killed_and_restarted_server_changes_no_answer(vllm_servers: tuple[VLLM, VLLM], killed: int) -> None:
    case = next(case for case in CASES if case["id"] == "health")
    expected = answer(remote(vllm_servers), case)
    nudger = remote(vllm_servers, max_retries=30)

    def restart() -> None:
        time.sleep(3)
        vllm_servers[killed].kill()
        vllm_servers[killed].start()

    restarting = threading.Thread(target=restart)
    restarting.start()
    found = answer(nudger, case)
    restarting.join()
    vllm_servers[killed].wait()
    assert found.pieces == expected.pieces


def test_twenty_connections_cut_at_random_change_no_answer(vllm_servers: tuple[VLLM, VLLM]) -> None:
    question: Any = [{"role": "user", "content": QUESTIONS[2]}]
    with CuttingProxy(vllm_servers[0].port) as base, CuttingProxy(vllm_servers[1].port) as nudging:
        urls = {"base_url": base.url, "nudging_url": nudging.url}
        expected = remote(vllm_servers).generate(question, max_tokens=24).pieces
        for seed in range(CUTS):
            base.arm(seed)
            nudging.arm(seed + 1000)
            found = Nudger("base", "nudging", **urls, max_retries=8).generate(question, max_tokens=24)
            assert found.pieces == expected
        assert base.cuts + nudging.cuts >= CUTS


async def test_many_answers_at_once_equal_those_one_by_one(vllm_servers: tuple[VLLM, VLLM]) -> None:
    nudger = remote(vllm_servers, max_tokens=32)
    started = time.monotonic()
    expected = [(await nudger.agenerate(question)).pieces for question in QUESTIONS]
    one_by_one = (time.monotonic() - started) / len(QUESTIONS)
    started = time.monotonic()
    answers = await nudger.agenerate_many(QUESTIONS * 4, at_once=32)
    together = (time.monotonic() - started) / len(answers)
    assert [answer.pieces for answer in answers] == expected * 4
    print(f"{one_by_one:.2f} s per answer one by one, {together:.2f} s at 32 at once: {one_by_one / together:.1f}x")


def test_answers_and_forced_calls_at_once_are_valid(vllm_servers: tuple[VLLM, VLLM]) -> None:
    nudger = remote(vllm_servers, max_tokens=200)
    schemas = [random_schema(random.Random(seed)) for seed in range(8)]
    parameters = [random_object_schema(random.Random(1000 + seed), depth=2) for seed in range(4)]

    def constrained(schema: dict[str, Any]) -> Any:
        return json.loads(nudger.generate("Tell me about France.", schema=schema).text)

    def forced(parameters: dict[str, Any]) -> Any:
        tool = {"type": "function", "function": {"name": "tool", "parameters": parameters}}
        (call,) = nudger.generate("What is the weather like?", tools=[tool], tool_choice="tool").tool_calls
        return call.arguments

    with ThreadPoolExecutor(16) as threads:
        values = [*threads.map(constrained, schemas), *threads.map(forced, parameters)]
    for value, schema in zip(values, [*schemas, *parameters], strict=True):
        Draft202012Validator(schema).validate(value)


def test_a_refused_request_raises_the_servers_reason(vllm_servers: tuple[VLLM, VLLM]) -> None:
    body = {"prompt": "a", "temperature": -1}
    with pytest.raises(ServerError, match="temperature"):
        remote(vllm_servers).base_model.client.post("/v1/completions", body, BaseModel)
