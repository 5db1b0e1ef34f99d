"""Both models on real llama.cpp servers: the answers of llama.cpp in this process, failures, schemas and tools."""

import asyncio
import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from llamacpp_server import ServerProcess, llamacpp_server
from nudging import (
    ContextLengthError,
    GrammarError,
    ModelNotFoundError,
    Nudger,
    Prompts,
    ServerError,
    UnsupportedModelError,
)
from nudging.models.llamacpp.model import LlamaCppModel
from pydantic import BaseModel
from random_schemas import random_object_schema
from served import serving
from tiny_gguf import OTHER, llama_gguf

pytestmark = [pytest.mark.enable_socket]

KILLS = 20
QUESTIONS = ["why is the sky blue", "how far away is the sun?", "say so all day"]

Servers = tuple[ServerProcess, ServerProcess]


@contextmanager
def two_servers(files: tuple[Path, Path], **options: Any) -> Iterator[Servers]:
    with llamacpp_server(files[0], **options) as base, llamacpp_server(files[1], **options) as nudging:
        yield base, nudging


def remote(servers: Servers, **options: Any) -> Nudger:
    base, nudging = servers
    urls = {"base_url": base.url, "nudging_url": nudging.url}
    return Nudger(base.gguf.name, nudging.gguf.name, **{**urls, **options})


# tiny models in float32: the answers are those of llama.cpp in this process, token by token


@pytest.fixture(scope="module")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("gguf")
    base = llama_gguf(folder / "base.gguf", seed=1, vocabulary=OTHER, templates=None)
    return base, llama_gguf(folder / "nudging.gguf")


@pytest.fixture(scope="module")
def servers(tiny_files: tuple[Path, Path]) -> Iterator[Servers]:
    with two_servers(tiny_files, context=512, slots=4) as both:
        yield both


@pytest.fixture(scope="module")
def local(tiny_files: tuple[Path, Path]) -> Nudger:
    return Nudger(LlamaCppModel(tiny_files[0]), LlamaCppModel(tiny_files[1]), threshold=0.3, max_tokens=24, end=0)


CASES: list[dict[str, Any]] = [
    {"rule": "words"},
    {"rule": "words", "end": 0.02},
    {"rule": "tokens", "threshold": 0.1},
    {"rule": "bet", "bet": 0.1, "end": 0.02},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_answers_are_those_of_llama_cpp_in_this_process(
    servers: Servers, local: Nudger, case: dict[str, Any]
) -> None:
    nudger, compared = remote(servers, threshold=0.3, max_tokens=24, end=0), 0
    for question in QUESTIONS:
        assert nudger.prompts(question) == local.prompts(question)
        found, expected = nudger.generate(question, **case), local.generate(question, **case)
        if "\ufffd" in expected.text:
            continue  # bytes that are no characters: the server drops them
        compared += 1
        assert (found.text, found.finish_reason) == (expected.text, expected.finish_reason)
    assert compared


async def test_many_at_once_and_on_an_event_loop(servers: Servers, local: Nudger) -> None:
    nudger = remote(servers, threshold=0.3, max_tokens=24, end=0)
    expected = [local.generate(question).text for question in QUESTIONS]
    assert [answer.text for answer in nudger.generate_many(QUESTIONS * 4)] == expected * 4
    assert [answer.text for answer in await nudger.agenerate_many(QUESTIONS * 4)] == expected * 4


def test_a_seed_gives_one_answer(servers: Servers) -> None:
    nudger = remote(servers, threshold=0.3, max_tokens=24, temperature=0.8, top_p=0.9)
    texts = {seed: nudger.generate(QUESTIONS[0], seed=seed).text for seed in (1, 2)}
    assert texts[1] != texts[2]
    assert {seed: nudger.generate(QUESTIONS[0], seed=seed).text for seed in texts} == texts


def test_log_probabilities_are_those_of_llama_cpp_in_this_process(servers: Servers, local: Nudger) -> None:
    options: Any = {"logprobs": True, "max_tokens": 8}
    found = remote(servers, threshold=0.3, end=0).generate(QUESTIONS[1], **options)
    expected = local.generate(QUESTIONS[1], **options)
    assert found.logprobs
    assert expected.logprobs
    assert [one.token for one in found.logprobs] == [one.token for one in expected.logprobs]
    for one, other in zip(found.logprobs, expected.logprobs, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3)


def test_a_scorer_lists_the_alternatives_of_llama_cpp_in_this_process(servers: Servers, local: Nudger) -> None:
    pieces = [" the sky is", " far away"]
    scorers = [nudger.scorer(QUESTIONS[1], 3) for nudger in (remote(servers), local)]
    for piece in pieces:
        found, expected = (scorer.score(piece) for scorer in scorers)
        assert "".join(one.token for one in found) == piece
        for one, other in zip(found, expected, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=1e-3)
            assert [top.token for top in one.alternatives] == [top.token for top in other.alternatives]


def test_tokens_that_are_parts_of_a_character_cannot_be_scored(servers: Servers) -> None:
    session = remote(servers).base_model.session("why", author="base")
    with pytest.raises(UnsupportedModelError, match="parts of a character"):
        session.score(" is 🌍")


async def test_cancelling_stops_the_servers(servers: Servers) -> None:
    nudger = remote(servers, threshold=0.0, max_tokens=400)
    with nudger.stream(QUESTIONS[0]) as stream:
        next(stream)
    work = asyncio.create_task(nudger.agenerate(QUESTIONS[1]))
    await asyncio.sleep(0.1)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    for _ in range(100):
        if not servers[0].busy() + servers[1].busy():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("a server still decodes")


def test_a_prompt_longer_than_a_slot_is_refused_before_it_is_sent(servers: Servers) -> None:
    with pytest.raises(ContextLengthError, match="512"):
        remote(servers).generate("why is the sky blue " * 200)


def test_an_answer_ends_where_the_context_does(servers: Servers, local: Nudger) -> None:
    long = "the sky is blue and the sun is far away " * 14
    found = remote(servers, max_tokens=500, threshold=0.05, end=0).generate(long)
    expected = local.generate(long, max_tokens=500, threshold=0.05)
    assert (found.text, found.finish_reason) == (expected.text, expected.finish_reason) != ("", "length")


def test_the_error_for_an_unknown_model_names_the_file_that_is_served(servers: Servers) -> None:
    with pytest.raises(ModelNotFoundError, match=r"base\.gguf"):
        Nudger("other", "other", base_url=servers[0].url, nudging_url=servers[1].url).load()


@pytest.mark.standard
def test_twenty_kills_change_no_answer(tiny_files: tuple[Path, Path]) -> None:
    rng = random.Random(1)
    with two_servers(tiny_files, context=512) as both:
        nudger = remote(both, threshold=0.3, max_tokens=48, end=0, max_retries=30)
        started = time.monotonic()
        expected = [nudger.generate(question).text for question in QUESTIONS]
        seconds = (time.monotonic() - started) / len(QUESTIONS)
        for number in range(KILLS):
            killed = both[number % 2]
            with ThreadPoolExecutor(1) as threads:
                found = threads.submit(nudger.generate, QUESTIONS[number % 3])
                time.sleep(rng.random() * seconds)
                killed.kill()
                killed.start(wait=False)
                assert found.result(120).text == expected[number % 3]
            killed.wait()


def test_a_dead_server_is_named_with_the_answer_so_far(tiny_files: tuple[Path, Path]) -> None:
    with two_servers(tiny_files, context=512) as both:
        nudger = remote(both, threshold=0.0, max_tokens=400, end=0, max_retries=0)
        stream = nudger.stream(QUESTIONS[0])
        first = next(stream)
        both[0].kill()
        with pytest.raises(ServerError, match=f"the base server at {both[0].url}") as raised:
            list(stream)
        assert raised.value.answer is not None
        assert raised.value.answer.text.startswith(first.text)


def test_a_server_that_still_loads_its_model_is_waited_for(tiny_files: tuple[Path, Path]) -> None:
    with two_servers(tiny_files, context=512) as both:
        expected = remote(both, threshold=0.3, max_tokens=8).generate(QUESTIONS[0]).text
        both[0].kill()
        starting = Thread(target=both[0].start)
        starting.start()
        assert remote(both, threshold=0.3, max_tokens=8, max_retries=30).generate(QUESTIONS[0]).text == expected
        starting.join()


def test_a_wrong_key_is_never_shown(tiny_files: tuple[Path, Path]) -> None:
    with two_servers(tiny_files, context=512, api_keys=["right-key"]) as both:
        keys = {"base_api_key": "wrong-key", "nudging_api_key": "right-key"}
        with pytest.raises(ServerError, match="base_api_key") as raised:
            remote(both, **keys).generate(QUESTIONS[0])
        assert "wrong-key" not in str(raised.value)
        keys["base_api_key"] = "right-key"
        assert remote(both, **keys, max_tokens=4).generate(QUESTIONS[0]).text


@pytest.mark.parametrize("seed", range(0, 50, 10))
def test_an_answer_is_valid_under_any_schema_and_budget(servers: Servers, seed: int) -> None:
    nudger = remote(servers, threshold=0.3)
    for one in range(seed, seed + 10):
        rng = random.Random(one)
        schema = random_object_schema(rng)
        options: Any = {"schema": schema, "temperature": rng.choice([0.0, 0.8]), "seed": one}
        prompts = Prompts(base="why", nudging="why")
        with pytest.raises(GrammarError, match=r"needs at least (\d+) tokens") as refused:
            nudger.generate(prompts, max_tokens=1, **options)
        least = int(str(refused.value).split("needs at least ")[1].split()[0])
        for max_tokens in (least, least + 60):
            answer = nudger.generate(prompts, max_tokens=max_tokens, **options)
            Draft202012Validator(schema).validate(json.loads(answer.text))
            assert answer.usage.completion_tokens <= max_tokens


@pytest.mark.standard
def test_fifty_forced_calls_are_valid(servers: Servers) -> None:
    nudger = remote(servers, threshold=0.3, max_tokens=200)
    for seed in range(50):
        parameters = random_object_schema(random.Random(1000 + seed))
        tool = {"type": "function", "function": {"name": f"tool{seed}", "parameters": parameters}}
        answer = nudger.generate(Prompts(base="why", nudging="why"), tools=[tool], tool_choice=f"tool{seed}", seed=seed)
        (call,) = answer.tool_calls
        Draft202012Validator(parameters).validate(call.arguments)  # type: ignore[arg-type]


# the demo pair


@pytest.fixture(scope="module")
def demo_servers() -> Iterator[Servers]:
    from nudging.models.demo import demo_pair

    with two_servers(demo_pair(print, "llamacpp", "llamacpp"), slots=2) as both:
        yield both


class City(BaseModel):
    name: str
    country: str
    population: int
    is_capital: bool


TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"],
        },
    },
}


def test_prompts_are_those_of_the_local_files(demo_servers: Servers) -> None:
    local = Nudger(demo_servers[0].gguf, demo_servers[1].gguf)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 🌍?"}]
    assert remote(demo_servers).prompts(messages) == local.prompts(messages)
    assert remote(demo_servers).count_tokens(messages) == local.count_tokens(messages)


def test_the_first_steps_are_those_of_the_local_files(demo_servers: Servers) -> None:
    local, nudger = Nudger(demo_servers[0].gguf, demo_servers[1].gguf), remote(demo_servers)
    prompts = local.prompts("What are three tips for staying healthy?")
    sides: Any = [(local.base_model, nudger.base_model, prompts.base, "base")]
    sides += [(local.nudging_model, nudger.nudging_model, prompts.nudging, "nudging")]
    for own, served, prompt, author in sides:
        expected = next(own.session(prompt, author=author).steps("", 1))
        found = next(served.session(prompt, author=author).steps("", 1))
        assert found.text == expected.text
        assert found.probability == pytest.approx(expected.probability, abs=0.05)  # other kernels for quantized weights


@pytest.mark.standard
async def test_schemas_and_forced_calls_are_valid(demo_servers: Servers) -> None:
    nudger = remote(demo_servers, max_tokens=64)
    for city in ("Paris", "Tokyo"):
        answer = nudger.generate(f"Describe {city}.", schema=City)
        City.model_validate_json(answer.text)
        assert answer.usage.base.requests + answer.usage.nudging.requests < 20
    assert (await nudger.agenerate("Describe Tokyo.", schema=City)).text == answer.text
    answer = nudger.generate("What is the weather in Oslo?", tools=[TOOL], tool_choice="required")
    (call,) = answer.tool_calls
    Draft202012Validator(TOOL["function"]["parameters"]).validate(call.arguments)  # type: ignore[index]
    assert nudger.generate("Is the sky blue?", regex="yes|no").text in ("yes", "no")


@pytest.mark.parametrize("side", ["base", "nudging"])
def test_a_schema_holds_with_one_model_on_a_server(demo_servers: Servers, side: str) -> None:
    urls = {f"{side}_url": demo_servers[side == "nudging"].url}
    names: Any = [server.gguf for server in demo_servers]
    names[side == "nudging"] = names[side == "nudging"].name
    City.model_validate_json(Nudger(*names, **urls, max_tokens=64).generate("Describe Rome.", schema=City).text)


def test_langchain_and_llamaindex_have_structured_output_and_tools(demo_servers: Servers) -> None:
    from llama_index.core.prompts import PromptTemplate

    from langchain_nudging import ChatNudging
    from llamaindex_nudging import NudgingLLM

    base, nudging = demo_servers
    options: Any = {"base_model": base.gguf.name, "nudging_model": nudging.gguf.name, "max_tokens": 64}
    options |= {"base_url": base.url, "nudging_url": nudging.url}
    chat = ChatNudging(**options)
    assert isinstance(chat.with_structured_output(City).invoke("Describe Paris."), City)
    message = chat.bind_tools([TOOL], tool_choice="get_weather").invoke("How is the weather in Oslo?")
    assert [call["name"] for call in message.tool_calls] == ["get_weather"]
    found = NudgingLLM(**options).structured_predict(City, PromptTemplate("Describe {city}."), city="Rome")
    assert isinstance(found, City)


def test_nudging_serve_in_front_has_response_format(demo_servers: Servers) -> None:
    from openai import OpenAI

    schema = {"name": "city", "schema": City.model_json_schema(), "strict": True}
    with serving(remote(demo_servers, max_tokens=64)) as url:
        client = OpenAI(base_url=f"{url}/v1", api_key="none")
        reply = client.chat.completions.create(
            model="nudged",
            messages=[{"role": "user", "content": "Describe Paris."}],
            response_format={"type": "json_schema", "json_schema": schema},  # type: ignore[arg-type, misc]
        )
    City.model_validate(json.loads(reply.choices[0].message.content or ""))
