"""The facts about the two servers of llama.cpp that the client relies on. Needs the demo models and `xllamacpp`."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from llamacpp_server import ServerProcess, llama_cpp_python_server, llamacpp_server
from nudging.models.demo import demo_model

pytestmark = pytest.mark.enable_socket

NEUTRAL = {"temperature": 0, "top_k": 0, "top_p": 1, "min_p": 0, "repeat_penalty": 1}
QUESTION = "<|im_start|>user\nSay only: yes<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with llamacpp_server(demo_model("nudging", backend="llamacpp"), context=512, slots=2) as running:
        yield running


def complete(server: ServerProcess, **body: Any) -> Any:
    return httpx.post(f"{server.root}/completion", json={"n_probs": 2, **NEUTRAL, **body}, timeout=60).json()


def streamed(server: ServerProcess, **body: Any) -> list[Any]:
    request = {"n_probs": 2, "stream": True, **NEUTRAL, **body}
    with httpx.stream("POST", f"{server.root}/completion", json=request, timeout=60) as answer:
        return [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line]


def test_it_tells_what_it_is(server: ServerProcess) -> None:
    models = httpx.get(f"{server.url}/models")
    assert models.headers["server"] == "llama.cpp"
    assert models.json()["data"][0]["owned_by"] == "llamacpp"
    assert models.json()["data"][0]["meta"]["n_ctx"] == 512
    assert httpx.get(f"{server.root}/props").json()["total_slots"] == 2


def test_the_end_token_has_a_chunk_with_its_probability(server: ServerProcess) -> None:
    *_, end, last = streamed(server, prompt=QUESTION, n_predict=40)
    assert (end["content"], end["tokens"], end["stop"]) == ("", [2], False)
    assert end["completion_probabilities"][0]["logprob"] < 0
    assert (last["stop"], last["stop_type"]) == (True, "eos")


def test_the_tokens_of_a_character_come_as_one(server: ServerProcess) -> None:
    chunks = streamed(server, prompt="Say é 🌍 again: é 🌍", n_predict=5)
    whole = next(chunk for chunk in chunks if chunk["content"] == "🌍")
    assert len(whole["completion_probabilities"]) == 1
    assert chunks[-1]["tokens_predicted"] > sum(len(chunk["tokens"]) for chunk in chunks)


def test_probabilities_are_raw_also_under_constraints(server: ServerProcess) -> None:
    free = complete(server, prompt=[19556], n_predict=1)["completion_probabilities"][0]
    for constraint in (
        {"grammar": "root ::= <[357]> | <[506]>"},
        {"logit_bias": [[357, 1000.0], [506, 1000.0]]},
        {"temperature": 2, "top_k": 1},
    ):
        found = complete(server, prompt=[19556], n_predict=1, **constraint)["completion_probabilities"][0]
        assert found["top_logprobs"] == free["top_logprobs"]
        if "temperature" not in constraint:
            assert found["id"] in (357, 506)
            assert found["logprob"] < free["logprob"]


def test_a_grammar_of_tokens_scores_a_text(server: ServerProcess) -> None:
    written = complete(server, prompt=QUESTION, n_predict=4, return_tokens=True)
    grammar = "root ::= " + " ".join(f"<[{token}]>" for token in written["tokens"])
    scored = complete(server, prompt=QUESTION, n_predict=4, grammar=grammar)
    assert [one["id"] for one in scored["completion_probabilities"]] == written["tokens"]
    assert [one["logprob"] for one in scored["completion_probabilities"]] == pytest.approx(
        [one["logprob"] for one in written["completion_probabilities"]], abs=0.05
    )


def test_several_prompts_in_one_request(server: ServerProcess) -> None:
    prompts = [[19556], [19556, 28]]
    together = complete(server, prompt=prompts, n_predict=1)
    alone = [complete(server, prompt=prompt, n_predict=1) for prompt in prompts]
    assert [one["content"] for one in together] == [one["content"] for one in alone]


def test_a_long_prompt_is_refused(server: ServerProcess) -> None:
    error = complete(server, prompt=[19556] * 512, n_predict=1)["error"]
    assert (error["code"], error["type"], error["n_ctx"]) == (400, "exceed_context_size_error", 512)


def test_it_can_be_killed_and_started_again(server: ServerProcess) -> None:
    before = complete(server, prompt=QUESTION, n_predict=8)["content"]
    pid = server.pid
    server.kill()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{server.root}/health")
    server.start()
    assert server.pid != pid
    assert complete(server, prompt=QUESTION, n_predict=8)["content"] == before


@pytest.mark.standard
def test_llama_cpp_python_penalizes_repetition_unless_told_not_to() -> None:
    body = {"prompt": "one two one two one two one two", "max_tokens": 10, "temperature": 0, "logprobs": 1}
    with llama_cpp_python_server(demo_model("base", backend="llamacpp"), context=256) as server:
        default, neutral = (
            httpx.post(f"{server.url}/completions", json={**body, **more}, timeout=60).json()["choices"][0]["text"]
            for more in ({}, {"repeat_penalty": 1.0})
        )
        assert neutral.startswith(" one two one two")
        assert default != neutral
        assert httpx.get(f"{server.url}/models").json()["data"][0]["owned_by"] == "me"
