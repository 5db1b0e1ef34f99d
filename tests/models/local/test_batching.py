"""Batched forward passes give the logits of single passes, whatever the other sequences are. Forked children answer."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import pytest
import torch
from forked import in_forked_child
from nudging import ModelError, Nudger
from nudging.models.decoding.device import DeviceThread
from nudging.models.decoding.timing import PassTimer
from nudging.models.local.batching import BatchScheduler, ForwardPass
from nudging.models.local.model import LocalModel
from nudging.models.local.state import LayeredState
from tiny import WINDOW
from transformers import AutoModelForCausalLM

LENGTHS = [(0, 1), (0, 2 * WINDOW), (7, 1), (3 * WINDOW, 5), (2, 9)]
"""Number of tokens in the cache and of new tokens, per sequence."""


@pytest.fixture(params=["tiny_base", "tiny_nudging"])
def scheduler(request: pytest.FixtureRequest) -> BatchScheduler:
    """The scheduler of a model with sliding windows, and of one without."""
    folder = request.getfixturevalue(request.param)
    scheduler = BatchScheduler(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), PassTimer())
    scheduler.allow_batches(new_state(scheduler))
    return scheduler


def new_state(scheduler: BatchScheduler) -> LayeredState:
    return LayeredState(scheduler.weights.config, "past_key_values")


def new_passes(scheduler: BatchScheduler, keep: int = 1) -> list[ForwardPass]:
    """Return one pass per sequence of LENGTHS, with the cached tokens in its cache."""
    torch.manual_seed(0)
    found = []
    for start, new in LENGTHS:
        tokens, state = torch.randint(5, 200, (start + new,)).tolist(), new_state(scheduler)
        if start:
            scheduler.run(tokens[:start], state, 1)
        found.append(ForwardPass(scheduler, tokens[start:], state, min(keep, new)))
    return found


@pytest.mark.parametrize("keep", [1, 4])
def test_a_batch_gives_the_logits_of_single_passes(scheduler: BatchScheduler, keep: int) -> None:
    single, batched = new_passes(scheduler, keep), new_passes(scheduler, keep)
    for one in single:
        scheduler.run_batch([one])
    for _ in range(2):  # the first batch is checked against single passes
        batched = new_passes(scheduler, keep)
        scheduler.run_batch(batched)
    assert scheduler.can_batch
    for one, other in zip(single, batched, strict=True):
        torch.testing.assert_close(one.logits.result(), other.logits.result(), atol=1e-4, rtol=1e-4)
        assert one.logits.result().shape[0] == one.keep
        assert one.state.length == other.state.length


def test_a_batch_is_one_pass_through_the_model(scheduler: BatchScheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler.run_batch(new_passes(scheduler))
    several = new_passes(scheduler)
    fed: list[int] = []
    monkeypatch.setattr(scheduler.timer, "record", lambda tokens, seconds, sequences: fed.append(tokens))
    scheduler.run_batch(several)
    assert fed == [sum(new for _, new in LENGTHS)]


def test_passes_run_without_cudnns_attention_and_leave_the_setting_as_it_was(scheduler: BatchScheduler) -> None:
    enabled = torch.backends.cuda.cudnn_sdp_enabled
    seen: list[bool] = []
    scheduler.weights.register_forward_pre_hook(lambda *_: seen.append(enabled()))
    assert enabled()
    scheduler.run_batch(new_passes(scheduler))
    assert seen
    assert not any(seen)
    assert enabled()


def test_batching_is_turned_off_and_logged_once_if_a_batch_gives_other_logits(
    scheduler: BatchScheduler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    single = new_passes(scheduler)
    for one in single:
        scheduler.run_batch([one])
    noise = lambda _, several: [torch.randn_like(one.logits.result()) for one in single[: len(several)]]  # noqa: E731
    monkeypatch.setattr("nudging.models.local.batching._batched_pass", noise)
    several = new_passes(scheduler)
    scheduler.run_batch(several)
    assert not scheduler.can_batch
    for one, other in zip(single, several, strict=True):
        torch.testing.assert_close(one.logits.result(), other.logits.result())
    scheduler.run_batch(new_passes(scheduler))
    (message,) = warnings(caplog)
    assert "runs one answer at a time from now on (batched passes give other logits than single ones)" in message
    assert str(scheduler.weights.name_or_path) in message


def test_batching_is_turned_off_and_logged_once_if_the_first_batch_fails(
    scheduler: BatchScheduler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("unusual architecture")

    monkeypatch.setattr("nudging.models.local.batching._batched_pass", fail)
    several = new_passes(scheduler)
    scheduler.run_batch(several)
    assert not scheduler.can_batch
    for one, other in zip(finished_passes(scheduler), several, strict=True):
        torch.testing.assert_close(one.logits.result(), other.logits.result())
    (message,) = warnings(caplog)
    assert "a batched pass failed: RuntimeError: unusual architecture" in message


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record for record in caplog.records if record.name == "nudging"]
    assert all(record.levelname == "WARNING" for record in found)
    return [record.getMessage() for record in found]


def test_a_failed_batch_is_repeated_one_by_one(scheduler: BatchScheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler.run_batch(new_passes(scheduler))
    expected = [one.logits.result() for one in finished_passes(scheduler)]
    layer: Any = scheduler.weights.model.layers[1].mlp
    forward = layer.forward

    def fail_on_many(hidden: torch.Tensor) -> Any:
        if hidden.shape[1] == sum(new for _, new in LENGTHS):
            raise RuntimeError("out of memory")
        return forward(hidden)

    again = new_passes(scheduler)
    monkeypatch.setattr(layer, "forward", fail_on_many)
    scheduler.run_batch(again)
    assert scheduler.can_batch
    for one, logits in zip(again, expected, strict=True):
        torch.testing.assert_close(one.logits.result(), logits)


def finished_passes(scheduler: BatchScheduler) -> list[ForwardPass]:
    several = new_passes(scheduler)
    for one in several:
        scheduler.run_batch([one])
    return several


def test_an_error_reaches_only_the_caller_of_its_pass(tiny_base: Path) -> None:
    model = LocalModel(tiny_base)
    model.load()
    start = Barrier(3)

    def run(tokens: list[int]) -> object:
        start.wait()
        try:
            return model.weights.forward(tokens, model.weights.new_state(), 1).shape[0]
        except IndexError as error:
            return error

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(run, [[5, 6], [10**6], [7]]))
    assert found[0] == found[2] == 1
    assert isinstance(found[1], IndexError)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Let torch use two threads, and start them: they are what a forked child lacks."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    large_softmax()
    yield
    torch.set_num_threads(before)


def large_softmax() -> float:
    return float(torch.ones(10**6).softmax(0).sum())


@pytest.mark.usefixtures("two_threads")
def test_a_forked_child_answers_as_its_parent_does(tiny: Nudger) -> None:
    expected = tiny.generate("Hi").text
    assert in_forked_child(lambda: tiny.generate("Hi").text) == expected
    assert in_forked_child(lambda: asyncio.run(tiny.agenerate("Hi")).text) == expected
    assert in_forked_child(lambda: [answer.text for answer in tiny.generate_many(["Hi", "Hi"])]) == [expected] * 2
    assert in_forked_child(lambda: in_forked_child(lambda: tiny.generate("Hi").text)) == expected
    assert in_forked_child(large_softmax) == pytest.approx(1)
    with ThreadPoolExecutor(1) as pool:  # a fork in another thread
        assert pool.submit(in_forked_child, lambda: tiny.generate("Hi").text).result() == expected
    assert tiny.generate("Hi").text == expected


def test_children_answer_that_are_forked_during_the_passes_of_other_threads(tiny: Nudger) -> None:
    expected, stopped = tiny.generate("Hi").text, Event()

    def keep_busy() -> None:
        while not stopped.is_set():
            tiny.generate("Hello")

    busy = Thread(target=keep_busy)
    busy.start()
    try:
        assert [in_forked_child(lambda: tiny.generate("Hi").text) for _ in range(4)] == [expected] * 4
    finally:
        stopped.set()
        busy.join()


def test_a_forked_child_says_once_that_its_passes_use_one_core(tiny: Nudger, caplog: pytest.LogCaptureFixture) -> None:
    tiny.load()

    def answer_twice() -> list[str]:
        tiny.generate("Hi")
        tiny.generate("Hello")
        return warnings(caplog)

    (message,) = in_forked_child(answer_twice)  # type: ignore[misc]
    assert "passes use one core" in message
    assert "spawn" in message
    assert not warnings(caplog)


def test_an_accelerator_cannot_be_used_in_a_forked_child(scheduler: BatchScheduler) -> None:
    accelerator = DeviceThread("cuda:0")
    error = in_forked_child(lambda: accelerator.put(ForwardPass(scheduler, [1], new_state(scheduler), 1)))
    assert isinstance(error, ModelError)
    assert "spawn" in str(error)


def test_a_forked_child_exits_as_usual(tiny_base: Path, tiny_nudging: Path) -> None:
    code = f"""
import os, sys
from nudging import Nudger
nudger = Nudger({str(tiny_base)!r}, {str(tiny_nudging)!r}, max_tokens=4)
nudger.load()
child = os.fork()
print(nudger.generate("Hi").text)
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)  # noqa: S603
