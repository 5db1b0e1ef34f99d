"""Both models on real vLLM servers on this machine: golden transcripts, failures, and many answers at once."""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from nudging import Answer, Nudger, Prompts, ServerError
from proxy import CuttingProxy
from test_golden import CASES, check

pytestmark = [pytest.mark.vllm, pytest.mark.enable_socket]

QUESTIONS = [
    f"Tell me something about {topic}."
    for topic in ["bees", "bread", "chess", "clouds", "coffee", "cotton", "ferns", "glass"]
]
CUTS = 20


class VLLM:
    """A server of one model, bound to one core."""

    def __init__(self, folder: Path, name: str, port: int, core: int, log: Path) -> None:
        self.folder, self.name, self.port, self.core, self.log = folder, name, port, core, log
        self.root = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [os.environ["VLLM"], "serve", str(self.folder), "--served-model-name", self.name]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--max-model-len", "2048", "--dtype", "float32"]
        command += ["--enforce-eager", "--block-size", "32", "--enable-prompt-tokens-details"]
        environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": str(self.core)}
        if not shutil.which("g++"):  # without a compiler the first request with log-probabilities would kill the engine
            environment["TORCHDYNAMO_DISABLE"] = "1"
        environment |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 (our own server)
                command, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
            )

    def wait(self, seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.root}/health", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                assert self.process is not None
                assert self.process.poll() is None, self.log.read_text()[-2000:]
            time.sleep(1)
        raise AssertionError(self.log.read_text()[-2000:])

    def kill(self) -> None:
        """Kill the server and its child processes, as `kill -9` does."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def metric(self, name: str) -> float:
        text = httpx.get(f"{self.root}/metrics", timeout=10).text
        return sum(float(value) for value in re.findall(rf"^vllm:{name}{{.*}} (\S+)$", text, re.MULTILINE))


@pytest.fixture(scope="module")
def servers(pair: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VLLM, VLLM]]:
    logs = tmp_path_factory.mktemp("vllm")
    base, nudging = (
        VLLM(folder, name, port, core, logs / f"{name}.log")
        for folder, name, port, core in ((pair[0], "base", 8731, 0), (pair[1], "nudging", 8732, 1))
    )
    try:
        for server in (base, nudging):
            server.start()
        for server in (base, nudging):
            server.wait()
        yield base, nudging
    finally:
        for server in (base, nudging):
            server.kill()


def remote(servers: tuple[VLLM, VLLM], **options: Any) -> Nudger:
    base, nudging = servers
    urls = {"base_url": f"{base.root}/v1", "nudging_url": f"{nudging.root}/v1"}
    return Nudger("base", "nudging", **urls, **options)


def answer(nudger: Nudger, case: dict[str, Any]) -> Answer:
    prompts = Prompts(base=case["base_prompt"], nudging=case["nudge_prompt"])
    return nudger.generate(prompts, threshold=case["gamma"], max_tokens=case["max_tokens"] * 3 // 2)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES])
def test_the_transcripts_of_the_authors_program_are_reproduced(
    servers: tuple[VLLM, VLLM], case: dict[str, Any]
) -> None:
    found = answer(remote(servers), case)
    check(found, case)
    usage = found.usage
    assert usage.nudging.requests <= len(found.rounds) + 1  # the last proposal may be empty
    if case["stop_reason"] == "nudging_model_stop":  # the same answer: no more requests than the authors' program made
        assert usage.base.requests <= case["base_calls"] + 1  # one prefetch was not needed, because the answer ended
        assert usage.base.forward_passes <= case["base_steps"]


def test_prompts_are_those_of_the_local_models(servers: tuple[VLLM, VLLM], demo: Nudger) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 🌍?"}]
    assert remote(servers).prompts(messages) == demo.prompts(messages)
    assert remote(servers).count_tokens(messages) == demo.count_tokens(messages)


def test_log_probabilities_are_those_of_the_local_model(servers: tuple[VLLM, VLLM], demo: Nudger) -> None:
    options: Any = {"max_tokens": 20, "logprobs": True}
    found, expected = (nudger.generate(QUESTIONS[0], **options) for nudger in (remote(servers), demo))
    assert found.text == expected.text
    assert found.logprobs is not None
    assert expected.logprobs is not None
    assert [one.token for one in found.logprobs] == [one.token for one in expected.logprobs]
    for one, other in zip(found.logprobs, expected.logprobs, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3)


def test_a_closed_stream_stops_the_servers(servers: tuple[VLLM, VLLM]) -> None:
    stream = remote(servers, threshold=0.0, max_tokens=1000).stream(QUESTIONS[1])
    for _ in range(5):
        next(stream)
    stream.close()
    time.sleep(0.5)
    for server in servers:
        assert server.metric("num_requests_running") == 0
    before = [server.metric("generation_tokens_total") for server in servers]
    time.sleep(1)
    assert [server.metric("generation_tokens_total") for server in servers] == before


@pytest.mark.parametrize("killed", [0, 1], ids=["base", "nudging"])
def test_a_killed_and_restarted_server_changes_no_answer(servers: tuple[VLLM, VLLM], killed: int) -> None:
    case = next(case for case in CASES if case["id"] == "health")
    expected = answer(remote(servers), case)
    nudger = remote(servers, max_retries=30)

    def restart() -> None:
        time.sleep(3)
        servers[killed].kill()
        servers[killed].start()

    restarting = threading.Thread(target=restart)
    restarting.start()
    found = answer(nudger, case)
    restarting.join()
    servers[killed].wait()
    assert found.pieces == expected.pieces


def test_twenty_connections_cut_at_random_change_no_answer(servers: tuple[VLLM, VLLM]) -> None:
    question: Any = [{"role": "user", "content": QUESTIONS[2]}]
    with CuttingProxy(servers[0].port) as base, CuttingProxy(servers[1].port) as nudging:
        urls = {"base_url": base.url, "nudging_url": nudging.url}
        expected = remote(servers).generate(question, max_tokens=24).pieces
        for seed in range(CUTS):
            base.arm(seed)
            nudging.arm(seed + 1000)
            found = Nudger("base", "nudging", **urls, max_retries=8).generate(question, max_tokens=24)
            assert found.pieces == expected
        assert base.cuts + nudging.cuts >= CUTS


async def test_many_answers_at_once_equal_those_one_by_one(servers: tuple[VLLM, VLLM]) -> None:
    nudger = remote(servers, max_tokens=32)
    started = time.monotonic()
    expected = [(await nudger.agenerate(question)).pieces for question in QUESTIONS]
    one_by_one = (time.monotonic() - started) / len(QUESTIONS)
    started = time.monotonic()
    answers = await nudger.agenerate_many(QUESTIONS * 8, at_once=64)
    together = (time.monotonic() - started) / len(answers)
    assert [answer.pieces for answer in answers] == expected * 8
    print(f"{one_by_one:.2f} s per answer one by one, {together:.2f} s at 64 at once: {one_by_one / together:.1f}x")


def test_a_refused_request_raises_the_servers_reason(servers: tuple[VLLM, VLLM]) -> None:
    with pytest.raises(ServerError, match="temperature"):
        remote(servers).base_model.client.post("/v1/completions", {"prompt": "a", "temperature": -1})
