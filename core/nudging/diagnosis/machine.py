"""The machine in ten lines: versions, backends, memory, the cache, the demo pair."""

import os
import platform
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from nudging import __version__
from nudging.diagnosis.demo import diagnose_demo
from nudging.diagnosis.finding import Finding, Status, size
from nudging.diagnosis.memory import Memory, memory_by_device

PACKAGES = ("torch", "transformers", "llama-cpp-python", "llguidance", "openai", "langchain-core", "llama-index-core")
"""The packages whose versions explain most problems."""

BACKENDS = {
    "transformers": ("transformers", ("torch", "transformers")),
    "llama.cpp": ("llamacpp", ("llama_cpp",)),
    "servers": ("openai", ("openai", "tenacity")),
}
"""Libraries that run models: the extra that installs each, and its modules."""

_REQUIREMENT = re.compile(r"""([\w.-]+)(?:\[([\w, -]+)\])?[^;]*;.*\bextra\s*==\s*["']([\w-]+)["']""")
"""A requirement of an extra: `torch>=2.6; extra == 'transformers'`."""


def diagnose_machine() -> list[Finding]:
    """Return the ten lines that describe this machine."""
    devices = memory_by_device()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return [
        Finding("ok", "nudging", f"{__version__} · {python} · {platform.platform()}", {"version": __version__}),
        Finding("ok", "processor", f"{_processor()} · {usable} cores", {"cores": usable}),
        _packages(),
        _extras(),
        *_backends(devices),
        _memory(devices),
        _cache(),
        diagnose_demo(),
    ]


def _processor() -> str:
    with suppress(OSError):
        if named := re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return f"{named[1]} ({platform.machine()})"
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(package)
    return None


def _packages() -> Finding:
    installed = {name: found for name in PACKAGES if (found := _version(name))}
    text = " · ".join(f"{name} {found}" for name, found in installed.items())
    return Finding("ok", "packages", text or f"none of {', '.join(PACKAGES)}", installed)


def _extras() -> Finding:
    try:
        missing = missing_extras()
    except PackageNotFoundError:
        return Finding("note", "extras", "not known: this package is not installed, only its source is found")
    if not missing:
        return Finding("ok", "extras", "all installed", {"missing": []})
    install = f"pip install 'nudging[{','.join(missing)}]'"
    return Finding("ok", "extras", f"not installed: {', '.join(missing)} ({install})", {"missing": missing})


def missing_extras() -> list[str]:
    """Return the extras of this package with a requirement that is not installed."""
    packages: dict[str, set[str]] = {}
    extras: dict[str, set[str]] = {}
    for line in requires("nudging") or ():
        if found := _REQUIREMENT.match(line):
            package, inner, extra = found.groups()
            if package == "nudging":
                extras.setdefault(extra, set()).update(name.strip() for name in inner.split(","))
            else:
                packages.setdefault(extra, set()).add(package)

    def is_missing(extra: str) -> bool:
        own = any(_version(package) is None for package in packages.get(extra, ()))
        return own or any(map(is_missing, extras.get(extra, ())))

    return [name for name in sorted({*packages, *extras} - {"all"}) if is_missing(name)]


def _backends(devices: dict[str, Memory]) -> Iterator[Finding]:
    installed = {name: all(map(find_spec, modules)) for name, (_, modules) in BACKENDS.items()}
    missing: Status = "note" if any(installed.values()) else "fail"
    for name, (extra, _) in BACKENDS.items():
        install = f"pip install 'nudging[{extra}]'"
        if not installed[name]:
            yield Finding(missing, name, f"not installed: {install}", {"installed": False})
            continue
        try:
            describe = {"transformers": _torch, "llama.cpp": _llamacpp, "servers": _servers}[name]
            yield Finding("ok", name, describe(devices), {"installed": True})
        except Exception as error:  # a package for another machine or version fails in many ways
            reason = f"{type(error).__name__}: {error}"
            text = f"installed, but cannot be imported ({reason}): {install} --force-reinstall"
            yield Finding("fail", name, text, {"installed": True})


def _torch(devices: dict[str, Memory]) -> str:
    import torch
    import transformers as _  # noqa: F401

    cpu = f"CPU ({torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads)"
    gpus = [
        f"{name} ({torch.cuda.get_device_name(name)}, {size(memory.free)} of {size(memory.total)} free)"
        for name, memory in devices.items()
        if name.startswith("cuda")
    ]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return " · ".join([*gpus, *mps, cpu])


def _llamacpp(devices: dict[str, Memory]) -> str:
    from nudging.models.llamacpp.library import llama

    return "GPU and CPU" if llama.llama_supports_gpu_offload() else "CPU (built without GPU offload)"


def _servers(devices: dict[str, Memory]) -> str:
    import nudging.models.remote.client  # noqa: F401

    return "models on OpenAI-compatible servers"


def _memory(devices: dict[str, Memory]) -> Finding:
    if not devices:
        return Finding("note", "memory", "not known: pip install psutil")
    text = " · ".join(f"{size(one.free)} free of {size(one.total)} {name}" for name, one in devices.items())
    data = {name: {"free": one.free, "total": one.total} for name, one in devices.items()}
    return Finding("ok", "memory", text, data)


def _cache() -> Finding:
    try:
        from nudging.models.cache_folder import cache_folder
    except ImportError:
        return Finding("ok", "cache", "none: no extra is installed that needs it")
    folder = cache_folder()
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    hub = ""
    with suppress(ImportError):
        from huggingface_hub import constants

        hub = f" · hub {constants.HF_HUB_CACHE}{' (offline)' if constants.HF_HUB_OFFLINE else ''}"
    return Finding("ok", "cache", f"{folder} ({size(used)}){hub}", {"folder": str(folder), "size": used})
