"""Free memory of this machine and of its GPUs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

RAM = "RAM"
"""The name of the machine's own memory. A GPU has its name in torch, for example "cuda:0"."""


@dataclass(frozen=True)
class Memory:
    """Memory of one device, in bytes."""

    total: int
    free: int


@dataclass(frozen=True)
class Need:
    """The memory that a model needs.

    Args:
        size: Number of bytes.
        devices: The names of the devices that it may be spread over.
    """

    size: int
    devices: frozenset[str]


def memory_by_device() -> dict[str, Memory]:
    """Return the memory of each device whose memory is known, by the device's name."""
    return dict([*_ram(), *_gpus()])


def overfull(needs: Sequence[Need], memory: Mapping[str, Memory]) -> tuple[int, int] | None:
    """Return (bytes needed, bytes free) of the devices in which these models do not fit, or None if all fit."""
    places = {need.devices for need in needs}
    for place in [*sorted(places, key=len), frozenset().union(*places)]:
        needed = sum(need.size for need in needs if need.devices <= place)
        free = sum(memory[device].free for device in place if device in memory)
        if needed > free and all(device in memory for device in place):
            return needed, free
    return None


def _ram() -> Iterator[tuple[str, Memory]]:
    with suppress(ImportError):
        import psutil

        machine = psutil.virtual_memory()
        memory = Memory(machine.total, machine.available)
        if (limit := _container_limit()) and limit.total < memory.total:
            memory = Memory(limit.total, min(limit.free, memory.free))
        yield RAM, memory


def _gpus() -> Iterator[tuple[str, Memory]]:
    with suppress(Exception):  # a broken torch is reported elsewhere
        import torch

        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            yield f"cuda:{index}", Memory(total, free)


def _container_limit(root: Path = Path("/sys/fs/cgroup")) -> Memory | None:
    """Return the memory that Linux allows this container, without what it can reclaim, or None without a limit."""
    read: Callable[[str], int] = lambda name: int((root / name).read_text())  # noqa: E731
    for limit, used, statistics, reclaimable in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):  # another version of cgroups, or no limit: "max"
            counters = dict(line.split() for line in (root / statistics).read_text().splitlines())
            return Memory(read(limit), max(0, read(limit) - read(used) + int(counters.get(reclaimable, 0))))
    return None
