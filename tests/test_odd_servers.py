"""The stand-ins answer in the shape of the servers that they stand for, and decode as the model does."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from nudging.models.local.model import LocalModel
from odd_servers import ODDITIES, TGI, Host, Ollama, SGLang, odd_server
from tiny_decoder import Decoding, TinyDecoder

pytestmark = pytest.mark.enable_socket

PROMPT = "why is the sky blue?"
GREEDY = {"temperature": 0, "max_tokens": 12}


@pytest.fixture(scope="module")
def decoder(tiny_nudging: Path) -> TinyDecoder:
    return TinyDecoder(tiny_nudging)


@pytest.fixture(scope="module")
def expected(tiny_nudging: Path) -> list[tuple[str, float, bool]]:
    """The text, the probability and the end of the first greedy tokens, as the model in this process has them."""
    model = LocalModel(tiny_nudging)
    steps = model.session(PROMPT, author="base").steps("", 12)
    return [(step.text, step.probability, step.end) for step in steps]


def streamed(url: str, body: Any, prefix: str = "data: ") -> Iterator[Any]:
    with httpx.stream("POST", url, json=body, timeout=60) as answer:
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            if line.removeprefix(prefix) not in ("", "[DONE]"):
                yield json.loads(line.removeprefix(prefix))


def test_the_decoder_is_the_model(decoder: TinyDecoder, expected: list[tuple[str, float, bool]]) -> None:
    decoded = list(decoder.decode(decoder.encode(PROMPT, special_tokens=True), Decoding(12)))
    assert [(one.text, one.end) for one in decoded] == [(text, end) for text, _, end in expected]
    assert [one.top[0].logprob for one in decoded] == pytest.approx(
        [math.log(probability) for _, probability, _ in expected], abs=1e-4
    )


def test_a_pattern_a_bias_and_a_penalty_change_what_is_decoded(decoder: TinyDecoder) -> None:
    ids = decoder.encode(PROMPT, special_tokens=True)
    pattern = list(decoder.decode(ids, Decoding(20, pattern="(blue|far) go")))
    assert "".join(one.text for one in pattern) in ("blue go", "far go")
    assert pattern[-1].end
    raw = next(decoder.decode(ids, Decoding(1, bias={7: 1000.0})))
    masked = next(decoder.decode(ids, Decoding(1, bias={7: 1000.0}, reports="processed")))
    assert raw.token.id == masked.token.id == 7
    assert raw.token.logprob < -0.1 < masked.token.logprob
    plain, penalized = (
        [one.token.id for one in decoder.decode(ids, Decoding(40, repetition_penalty=penalty))]
        for penalty in (1.0, 1.5)
    )
    assert plain != penalized
    draws = [next(decoder.decode(ids, Decoding(1, temperature=1.0, seed=seed))).token.id for seed in (1, 1, 2, 3, 4)]
    assert draws[0] == draws[1]
    assert len(set(draws)) > 1


def test_ollama(tiny_nudging: Path, expected: list[tuple[str, float, bool]]) -> None:
    options = {"temperature": 0, "num_predict": 12, "num_ctx": 256}
    body = {"model": "tiny", "prompt": PROMPT, "raw": True, "logprobs": True, "top_logprobs": 2, "options": options}
    with odd_server(Ollama, tiny_nudging) as server:
        *lines, last = streamed(f"{server.root}/api/generate", body)
        assert "".join(line["response"] for line in lines) == "".join(text for text, _, _ in expected)
        assert all(len(line["logprobs"]) == 1 and len(line["logprobs"][0]["top_logprobs"]) == 2 for line in lines)
        assert last["done"]
        assert last["done_reason"] == ("stop" if expected[-1][2] else "length")
        assert "logprobs" not in last
        templated = list(streamed(f"{server.url}/completions", {"model": "tiny", "prompt": PROMPT, **GREEDY}))
        assert "logprobs" not in templated[0]["choices"][0]
        assert httpx.post(f"{server.root}/api/generate", json={"model": "x"}).json() == {"error": "model 'x' not found"}
        many = {**body, "top_logprobs": 21}
        assert httpx.post(f"{server.root}/api/generate", json=many).status_code == 400
        chat = {"model": "tiny", "messages": [{"role": "user", "content": "go"}], "_debug_render_only": True}
        rendered = httpx.post(f"{server.root}/api/chat", json=chat).json()["_debug_info"]["rendered_template"]
        assert rendered == "<|user|>go\n<|assistant|>"


def test_ollama_cuts_long_prompts_unless_told_not_to(tiny_nudging: Path) -> None:
    body = {"model": "tiny", "prompt": PROMPT * 9, "raw": True, "options": {"num_ctx": 64, "num_predict": 1}}
    with odd_server(Ollama, tiny_nudging) as server:
        assert list(streamed(f"{server.root}/api/generate", body))[-1]["prompt_eval_count"] < 64
        assert httpx.post(f"{server.root}/api/generate", json={**body, "shift": False}).status_code == 400


def test_ollama_stops_without_a_last_line_at_many_equal_tokens(tiny_nudging: Path) -> None:
    body = {"model": "tiny", "prompt": PROMPT, "raw": True, "options": {"temperature": 0, "num_predict": 12}}
    with odd_server(Ollama, tiny_nudging, repeats=0) as server:
        assert not any(line["done"] for line in streamed(f"{server.root}/api/generate", body))


def test_sglang(tiny_nudging: Path, expected: list[tuple[str, float, bool]], decoder: TinyDecoder) -> None:
    body = {"model": "tiny", "prompt": decoder.encode(PROMPT, special_tokens=True), "stream": True, "logprobs": 2}
    with odd_server(SGLang, tiny_nudging, interval=5) as server:
        chunks = list(streamed(f"{server.url}/completions", {**body, **GREEDY, "return_token_ids": True}))
        choices = [chunk["choices"][0] for chunk in chunks]
        assert "".join(choice["text"] for choice in choices) == "".join(text for text, _, _ in expected)
        assert sum(len(choice["logprobs"]["tokens"]) for choice in choices) == len(expected)
        assert choices[-1]["finish_reason"] == ("stop" if expected[-1][2] else "length")
        refused = httpx.post(f"{server.url}/completions", json={**body, "max_tokens": 1000})
        assert refused.status_code == 400
        assert refused.json()["object"] == "error"
        scored = {"input_ids": body["prompt"], "return_logprob": True, "logprob_start_len": 0}
        listed = httpx.post(f"{server.root}/generate", json=scored).json()["meta_info"]["input_token_logprobs"]
        assert listed[0][0] is None
        assert [token for _, token, _ in listed] == body["prompt"]


def test_tgi(tiny_nudging: Path, expected: list[tuple[str, float, bool]]) -> None:
    body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 12, "details": True, "top_n_tokens": 2}}
    with odd_server(TGI, tiny_nudging) as server:
        events = list(streamed(f"{server.root}/generate_stream", body, "data:"))
        assert events[-1]["generated_text"] == "".join(text for text, _, _ in expected)
        assert [len(one["top_tokens"]) for one in events] == [2] * len(expected)
        assert events[-1]["details"]["finish_reason"] == ("eos_token" if expected[-1][2] else "length")
        for wrong in ({"temperature": 0}, {"top_p": 1.0}, {"top_n_tokens": 6}, {"max_new_tokens": 10_000}):
            assert httpx.post(f"{server.root}/generate", json={"inputs": "a", "parameters": wrong}).status_code == 422


def test_a_host_without_an_oddity_speaks_the_classic_format(
    tiny_nudging: Path, expected: list[tuple[str, float, bool]]
) -> None:
    with odd_server(Host, tiny_nudging) as server:
        body = {"model": "tiny", "prompt": PROMPT, "logprobs": 2, "stream": True, **GREEDY}
        choices = [chunk["choices"][0] for chunk in streamed(f"{server.url}/completions", body)]
        assert "".join(choice["text"] for choice in choices) == "".join(text for text, _, _ in expected)
        for choice in choices:
            assert max(choice["logprobs"]["top_logprobs"][0].values()) == choice["logprobs"]["token_logprobs"][0]


@pytest.mark.parametrize("oddity", ODDITIES)
def test_every_oddity_changes_an_answer(tiny_nudging: Path, oddity: str) -> None:
    body = {"model": "tiny", "prompt": PROMPT, "logprobs": 6, "stream": True, "unknown": 1, **GREEDY}

    def answers(**options: Any) -> list[tuple[int, str, str]]:
        with odd_server(Host, tiny_nudging, **options) as server:
            found = [httpx.get(f"{server.url}/models"), httpx.post(f"{server.url}/completions", json=body)]
        return [(one.status_code, one.headers["content-type"], one.text) for one in found]

    assert answers(oddity=oddity) != answers()
