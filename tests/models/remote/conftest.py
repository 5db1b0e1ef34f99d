"""Fixtures for models on servers: two stand-in servers with tiny models, and the same models in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from nudging import Nudger
from standin import StandIn, standing_in
from vllm_server import VLLM, two_servers


@pytest.fixture
def servers(tiny_base: Path, tiny_nudging: Path) -> Iterator[tuple[StandIn, StandIn]]:
    """A server of the base model and one of the nudging model."""
    with standing_in(tiny_base, name="big") as base, standing_in(tiny_nudging, name="small") as nudging:
        yield base, nudging


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a failed request be retried after 10 milliseconds."""
    monkeypatch.setattr("nudging.models.remote.client.wait_random_exponential", lambda **_: lambda _: 0.01)


@pytest.fixture
def local(tiny_base: Path, tiny_nudging: Path) -> Nudger:
    """The models of the servers, in this process."""
    from nudging.models.local.model import LocalModel

    return Nudger(LocalModel(tiny_base), LocalModel(tiny_nudging), threshold=0.2, max_tokens=24)


@pytest.fixture(scope="session")
def vllm_servers(pair: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VLLM, VLLM]]:
    """Real vLLM servers of the demo pair. The base server has nudging-vllm; the nudging model has a penalty."""
    with two_servers(pair, tmp_path_factory.mktemp("vllm")) as both:
        yield both
