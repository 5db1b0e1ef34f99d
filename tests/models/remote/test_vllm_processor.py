"""The logits processor for vLLM: with both of vLLM's interfaces, and on a real server."""

import asyncio
import math
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from vllm_server import PACKAGE, VLLM, install_processor

END = 3
SURE, UNSURE = [0.0, 5.0, 0.0, -1.0], [0.1, 0.3, 0.2, -1.0]  # top-1 probabilities 0.98 and 0.34
NEVER = -math.inf


class Move(Enum):
    UNIDIRECTIONAL = auto()
    SWAP = auto()


def process_dict_updates(entries: dict[int, Any], update: Any, new_state: Any) -> bool:
    """Follow the rows of a batch, as vLLM's function of this name does."""
    for index, params, prompt, output in update.added if update else ():
        entries.pop(index, None)
        if (state := new_state(params, prompt, output)) is not None:
            entries[index] = state
    for index in update.removed if update else ():
        entries.pop(index, None)
    for first, second, direction in update.moved if update else ():
        one, other = entries.pop(first, None), entries.pop(second, None)
        if one is not None:
            entries[second] = one
        if other is not None and direction is Move.SWAP:
            entries[first] = other
    return update is not None


@pytest.fixture(scope="module")
def package() -> Iterator[ModuleType]:
    """The package, with stand-ins for the few names of vLLM that it imports."""
    parameters = {"SamplingParams": object, "SamplingType": SimpleNamespace(GREEDY=0)}
    interface: dict[str, Any] = {"BatchUpdate": object, "LogitsProcessor": type("V1", (), {})}
    interface["process_dict_updates"] = process_dict_updates
    names: dict[str, dict[str, Any]] = {
        "vllm.sampling_params": parameters,
        "vllm.v1.sample.logits_processor": interface,
        "vllm.v1.worker.gpu.sample.logits_processor": {"LogitsProcessor": type("V2", (), {})},
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, values in names.items():
            module = ModuleType(name)
            vars(module).update(values)
            patch.setitem(sys.modules, name, module)
        spec = spec_from_file_location("nudging_vllm", PACKAGE / "nudging_vllm.py")
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        patch.setitem(sys.modules, "nudging_vllm", module)
        spec.loader.exec_module(module)
        yield module


def params(threshold: Any = None, skip: Any = None, greedy: bool = True, **others: Any) -> Any:
    arguments = {"nudging_threshold": threshold, "nudging_skip": skip}
    extra = {name: value for name, value in arguments.items() if value is not None}
    values = {"ignore_eos": False, "stop_token_ids": [], "eos_token_id": END, **others}
    return SimpleNamespace(extra_args=extra or None, sampling_type=0 if greedy else 1, **values)


@dataclass
class Request:
    params: Any
    prompt: int = 10
    output: list[int] = field(default_factory=list)


class RunnerV1:
    """Calls a processor as V1 does: requests are rows, and rows move."""

    def __init__(self, package: ModuleType) -> None:
        self.processor = package.StopWhereUnsure(None, torch.device("cpu"), False)
        self.rows: list[Request] = []

    def add(self, request: Request) -> None:
        self.rows.append(request)
        self.update(added=[(len(self.rows) - 1, request.params, None, request.output)])

    def update(self, **changes: Any) -> None:
        update = {"batch_size": len(self.rows), "removed": [], "added": [], "moved": [], **changes}
        self.processor.update_state(SimpleNamespace(**update))

    def finish(self, request: Request) -> None:
        row = self.rows.index(request)
        last = len(self.rows) - 1
        self.rows[row] = self.rows[last]
        self.rows.pop()
        self.update(removed=[row], moved=[(last, row, Move.UNIDIRECTIONAL)] if row != last else [])

    def swap(self) -> None:
        self.rows[0], self.rows[1] = self.rows[1], self.rows[0]
        self.update(moved=[(0, 1, Move.SWAP)])

    def step(self, logits: dict[int, list[float]], is_prompt_read: bool = True) -> dict[int, list[float]]:
        """Return the processed logits of each request by its id. The token -1 stands for one still on the device."""
        self.processor.update_state(None)
        found = self.processor.apply(torch.tensor([logits[id(one)] for one in self.rows]))
        ended = dict(zip([id(one) for one in self.rows], found.tolist(), strict=True))
        if is_prompt_read:
            for one in self.rows:
                one.output.append(-1)
        return ended


class RunnerV2:
    """Calls a processor as V2 does: requests have slots, and the rows of a step are in any order."""

    def __init__(self, package: ModuleType) -> None:
        self.lengths = SimpleNamespace(np=np.zeros(4, dtype=np.int32))
        state = SimpleNamespace(max_num_reqs=4, device=torch.device("cpu"), prompt_len=self.lengths)
        self.processor = package.StopWhereUnsure(SimpleNamespace(speculative_config=None), state)
        self.slots: dict[int, Request] = {}

    def add(self, request: Request) -> None:
        slot = min(set(range(4)) - set(self.slots))
        self.slots[slot] = request
        self.lengths.np[slot] = request.prompt
        is_changed = self.processor.add_request(slot, request.params)
        assert is_changed is bool(request.params.extra_args)

    def finish(self, request: Request) -> None:
        self.slots = {slot: one for slot, one in self.slots.items() if one is not request}

    def swap(self) -> None:
        self.slots = dict(reversed(self.slots.items()))

    def step(self, logits: dict[int, list[float]], is_prompt_read: bool = True) -> dict[int, list[float]]:
        self.processor.apply_staged_writes()
        last = -1 if is_prompt_read else -2  # a part of the prompt ends before its last token
        positions = [one.prompt + len(one.output) + last for one in self.slots.values()]
        slots = list(self.slots)
        context = SimpleNamespace(
            expanded_idx_mapping=torch.tensor(slots, dtype=torch.int32),
            idx_mapping_np=np.array(slots),
            pos=torch.tensor(positions),
        )
        found = self.processor.apply(torch.tensor([logits[id(one)] for one in self.slots.values()]), context)
        ended = dict(zip([id(one) for one in self.slots.values()], found.tolist(), strict=True))
        if is_prompt_read:
            for one in self.slots.values():
                one.output.append(-1)
        return ended


@pytest.fixture(params=[RunnerV1, RunnerV2], ids=["V1", "V2"])
def runner(request: pytest.FixtureRequest, package: ModuleType) -> Any:
    return request.param(package)


def is_ended(logits: list[float]) -> bool:
    return torch.tensor(logits).softmax(0).tolist() == [0, 0, 0, 1]


def ends(runner: Any, request: Request, *steps: list[float]) -> list[bool]:
    return [is_ended(runner.step({id(request): step})[id(request)]) for step in steps]


def test_a_greedy_request_ends_in_place_of_the_unsure_token(runner: Any) -> None:
    request = Request(params(0.5))
    runner.add(request)
    assert ends(runner, request, SURE, SURE, UNSURE) == [False, False, True]


def test_a_request_that_samples_ends_after_the_unsure_token(runner: Any) -> None:
    request = Request(params(0.5, greedy=False))
    runner.add(request)
    assert ends(runner, request, SURE, UNSURE, SURE) == [False, False, True]


@pytest.mark.parametrize("greedy", [True, False], ids=["greedy", "sampled"])
def test_a_request_does_not_end_at_the_tokens_to_skip(runner: Any, greedy: bool) -> None:
    request = Request(params(0.5, skip=2, greedy=greedy))
    runner.add(request)
    assert ends(runner, request, UNSURE, UNSURE, UNSURE, SURE) == [False, False, greedy, not greedy]


def test_requests_without_a_threshold_or_above_it_are_not_changed(runner: Any) -> None:
    plain, low, ending = Request(params()), Request(params(0.2)), Request(params(0.5))
    for request in (plain, low, ending):
        runner.add(request)
    found = runner.step({id(request): UNSURE for request in (plain, low, ending)})
    expected = torch.tensor(UNSURE).tolist()
    assert [found[id(plain)], found[id(low)]] == [expected, expected]
    assert is_ended(found[id(ending)])


def test_a_request_keeps_its_state_when_rows_move_and_places_are_used_again(runner: Any) -> None:
    first, second, third = Request(params(0.5)), Request(params(0.5, greedy=False)), Request(params())
    for request in (first, second, third):
        runner.add(request)
    runner.step({id(first): SURE, id(second): UNSURE, id(third): SURE})
    runner.swap()
    runner.finish(first)
    runner.add(fourth := Request(params(greedy=False)))
    found = runner.step({id(second): SURE, id(third): UNSURE, id(fourth): UNSURE})
    assert [is_ended(found[id(one)]) for one in (second, third, fourth)] == [True, False, False]


def test_a_request_ends_by_its_own_threshold_when_rows_move(runner: Any) -> None:
    low, high = Request(params(0.2)), Request(params(0.5))
    for request in (low, high):
        runner.add(request)
    runner.swap()
    for logits, expected in ((SURE, [False, False]), (UNSURE, [False, True])):
        found = runner.step({id(low): UNSURE, id(high): logits})
        assert [is_ended(found[id(one)]) for one in (low, high)] == expected


def test_a_request_inherits_nothing_from_the_one_before_it(runner: Any) -> None:
    before, after = Request(params(0.5), prompt=10), Request(params(0.5, greedy=False), prompt=11)
    runner.add(before)
    assert ends(runner, before, UNSURE) == [True]
    runner.finish(before)
    runner.add(after)
    assert ends(runner, after, SURE, SURE) == [False, False]
    runner.finish(after)
    runner.add(plain := Request(params()))
    assert ends(runner, plain, UNSURE, UNSURE) == [False, False]


def test_a_token_that_is_discarded_while_the_prompt_is_read_ends_nothing(runner: Any) -> None:
    request = Request(params(0.5, greedy=False))
    runner.add(request)
    runner.step({id(request): UNSURE}, is_prompt_read=False)
    assert ends(runner, request, SURE, UNSURE, SURE) == [False, False, True]


def test_a_masked_end_token_is_not_written(runner: Any) -> None:
    request = Request(params(0.5))
    runner.add(request)
    masked = [*UNSURE[:END], NEVER]
    assert runner.step({id(request): masked})[id(request)] == torch.tensor(masked).tolist()


def test_a_request_that_ignores_the_end_of_the_turn_ends_with_its_stop_token(runner: Any) -> None:
    request = Request(params(0.5, eos_token_id=None, stop_token_ids=[2]))
    runner.add(request)
    assert torch.tensor(runner.step({id(request): UNSURE})[id(request)]).softmax(0).tolist() == [0, 0, 1, 0]


def test_drafted_tokens_are_checked_each_at_its_own_position(package: ModuleType) -> None:
    lengths = SimpleNamespace(np=np.full(2, 10))
    state = SimpleNamespace(max_num_reqs=2, device=torch.device("cpu"), prompt_len=lengths)
    drafts = SimpleNamespace(speculative_config=SimpleNamespace(num_speculative_tokens=2))
    processor = package.StopWhereUnsure(drafts, state)
    processor.add_request(0, params(0.5, greedy=False))
    processor.apply_staged_writes()

    def step(first: int, *rows: list[float]) -> list[bool]:
        slots, positions = [0] * len(rows), torch.arange(first, first + len(rows))
        context = SimpleNamespace(expanded_idx_mapping=torch.tensor(slots), idx_mapping_np=np.array([0]), pos=positions)
        return [is_ended(row) for row in processor.apply(torch.tensor(rows), context).tolist()]

    assert step(9, SURE, UNSURE, SURE) == [False, False, True]
    assert step(10, SURE, UNSURE, SURE) == [False, False, True]  # the drafts of the last step were rejected
    assert step(12, SURE, SURE, SURE) == [True, False, False]


@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.3, 0.4, 0.7, 0.9, 0.999, 1.0])
def test_the_limit_agrees_with_a_client_that_compares_probabilities(package: ModuleType, threshold: float) -> None:
    limit = np.float32(package._limit(threshold))
    below = np.nextafter(limit, np.float32(-math.inf))
    assert math.exp(limit) >= threshold
    assert math.exp(below) < threshold or threshold == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 0}, "nudging_threshold must be a number above 0 and at most 1, got 0."),
        ({"threshold": 1.4}, "nudging_threshold must be a number above 0 and at most 1, got 1.4."),
        ({"threshold": "high"}, "nudging_threshold must be a number above 0 and at most 1, got 'high'."),
        ({"threshold": [0.4]}, r"nudging_threshold must be a number above 0 and at most 1, got \[0.4\]."),
        ({"skip": 1}, "nudging_threshold must be a number above 0 and at most 1, got None."),
        ({"threshold": 0.4, "skip": -1}, "nudging_skip must be an integer of at least 0, got -1."),
        ({"threshold": 0.4, "skip": 1.5}, "nudging_skip must be an integer of at least 0, got 1.5."),
        ({"threshold": 0.4, "skip": 1e400}, "nudging_skip must be an integer of at least 0, got inf."),
        ({"threshold": 0.4, "skip": 2**63}, "nudging_skip must be an integer of at least 0, got 9223372036854775808."),
        ({"threshold": 0.4, "ignore_eos": True}, "nudging_threshold needs an end token"),
    ],
)
def test_malformed_arguments_are_refused(package: ModuleType, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        package.StopWhereUnsure.validate_params(params(**arguments))


@pytest.mark.parametrize("arguments", [{}, {"threshold": 1}, {"threshold": 0.4, "skip": 3}])
def test_well_formed_arguments_are_accepted(package: ModuleType, arguments: dict[str, Any]) -> None:
    package.StopWhereUnsure.validate_params(params(**arguments))


# On a real server

TEXTS = [f"Question: Tell me something about {topic}.\nAnswer:" for topic in ("bees", "chess", "clouds", "glass")]
LIMIT = 16
MODES: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "sampled": {"temperature": 0.8, "top_p": 0.95, "seed": 7},
}


@dataclass(frozen=True)
class Reply:
    tokens: list[int]
    logprobs: list[float]
    top: list[dict[str, float]]
    reason: str

    def probability(self, place: int) -> float:
        return math.exp(max(self.top[place].values()))

    def top_token(self, place: int) -> int:
        return int(max(self.top[place], key=lambda token: self.top[place][token]).removeprefix("token_id:"))


async def complete(client: httpx.AsyncClient, server: VLLM, text: str, mode: str, **arguments: float) -> Reply:
    body = {"model": "base", "prompt": text, "max_tokens": LIMIT, "logprobs": 1, **MODES[mode]}
    body |= {"return_token_ids": True, "return_tokens_as_token_ids": True}
    if arguments:
        body["vllm_xargs"] = {f"nudging_{name}": value for name, value in arguments.items()}
    answer = await client.post(f"{server.root}/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    (choice,) = answer.json()["choices"]
    listed = choice["logprobs"]
    return Reply(choice["token_ids"], listed["token_logprobs"], listed["top_logprobs"], choice["finish_reason"])


def check(found: Reply, whole: Reply, mode: str, threshold: float, skip: int) -> None:
    """Check the reply with a threshold against the one without it."""
    unsure = [place for place in range(skip, len(whole.tokens)) if whole.probability(place) < threshold]
    if not unsure:
        assert (found.tokens, found.reason) == (whole.tokens, whole.reason)
        return
    place = unsure[0]
    assert found.probability(place) == pytest.approx(whole.probability(place), abs=1e-3)
    if mode == "greedy":
        assert found.tokens[:-1] == whole.tokens[:place]
        assert (len(found.tokens), found.reason) == (place + 1, "stop")
        assert found.top_token(place) == whole.tokens[place]
        assert found.logprobs[place] < max(found.top[place].values())  # the model did not choose the end token
    else:
        assert found.tokens[: place + 1] == whole.tokens[: place + 1]
        assert len(found.tokens) == min(place + 2, LIMIT)


@pytest.fixture(scope="module")
def base(vllm_servers: tuple[VLLM, VLLM]) -> VLLM:
    return vllm_servers[0]


@pytest.fixture(scope="module")
def whole(base: VLLM) -> dict[tuple[str, str], Reply]:
    """The replies without a threshold."""

    async def replies() -> dict[tuple[str, str], Reply]:
        async with httpx.AsyncClient(timeout=300) as client:
            keys = [(mode, text) for mode in MODES for text in TEXTS]
            return {(mode, text): await complete(client, base, text, mode) for mode, text in keys}

    return asyncio.run(replies())


@pytest.mark.vllm
@pytest.mark.enable_socket
class TestOnARealServer:
    @pytest.mark.parametrize("mode", MODES)
    async def test_a_request_ends_where_the_model_is_unsure(
        self, base: VLLM, whole: dict[tuple[str, str], Reply], mode: str
    ) -> None:
        decoded, tokens = base.metric("generation_tokens_total"), 0
        async with httpx.AsyncClient(timeout=300) as client:
            for text in TEXTS:
                for threshold, skip in [(0.2, 0), (0.4, 0), (0.4, 1), (0.9, 2), (1.0, 0)]:
                    found = await complete(client, base, text, mode, threshold=threshold, skip=skip)
                    check(found, whole[mode, text], mode, threshold, skip)
                    tokens += len(found.tokens)
        await asyncio.sleep(0.5)
        assert base.metric("generation_tokens_total") - decoded == tokens  # nothing else was decoded

    async def test_eight_requests_at_once_end_each_at_its_own_place(
        self, base: VLLM, whole: dict[tuple[str, str], Reply]
    ) -> None:
        draw = random.Random(0)
        keys = [(draw.choice(list(MODES)), draw.choice(TEXTS)) for _ in range(24)]
        slots = asyncio.Semaphore(8)

        async def one(client: httpx.AsyncClient, mode: str, text: str, threshold: float | None, skip: int) -> None:
            async with slots:
                if threshold is None:
                    assert (await complete(client, base, text, mode)).tokens == whole[mode, text].tokens
                else:
                    found = await complete(client, base, text, mode, threshold=threshold, skip=skip)
                    check(found, whole[mode, text], mode, threshold, skip)

        async with httpx.AsyncClient(timeout=300) as client:
            arguments = [(draw.choice([None, 0.1, 0.3, 0.4, 0.6, 1.0]), draw.choice([0, 0, 1, 4])) for _ in keys]
            await asyncio.gather(*[one(client, *key, *pair) for key, pair in zip(keys, arguments, strict=True)])

    async def test_a_malformed_argument_is_a_bad_request(self, base: VLLM) -> None:
        body = {"model": "base", "prompt": "a", "max_tokens": 1, "vllm_xargs": {"nudging_threshold": 1.4}}
        async with httpx.AsyncClient(timeout=300) as client:
            answer = await client.post(f"{base.root}/v1/completions", json=body)
        assert answer.status_code == 400
        assert "nudging_threshold must be a number above 0 and at most 1, got 1.4." in answer.text


@pytest.mark.vllm
def test_the_second_runner_of_vllm_loads_the_class(tmp_path: Path) -> None:
    install_processor(tmp_path / "installed")
    loader = "vllm.v1.worker.gpu.sample.logits_processor.loader"
    code = f"from {loader} import _load_v2_logitsprocs_plugins as load; print([one.__name__ for one in load()])"
    python = Path(os.environ["VLLM"]).with_name("python")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(  # noqa: S603
        [python, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "['StopWhereUnsure']" in done.stdout
