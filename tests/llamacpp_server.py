"""The two servers of llama.cpp in processes of their own: its C++ server, and the one of llama-cpp-python.

The package `xllamacpp` has the C++ server compiled. `python llamacpp_server.py '{"path": "model.gguf", "port": 8080}'`
runs it; the functions here run it for tests.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

START_SECONDS = 120.0


class ServerProcess:
    """A server in a process of its own, which can be killed and started again on the same port.

    Args:
        gguf: The model.
        command: The command that runs the server.
        port: Its port.
        ready: A path that answers 200 once the server is ready.
    """

    def __init__(self, gguf: Path, command: Sequence[str], port: int, ready: str) -> None:
        self.gguf = gguf
        self._command, self._ready = list(command), ready
        self.root = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (the server writes into it)

    @property
    def url(self) -> str:
        """The URL of the API, up to and with `/v1`."""
        return f"{self.root}/v1"

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self, wait: bool = True) -> None:
        """Start the server.

        Args:
            wait: Return once it is ready. False returns at once: llama.cpp answers 503 until the model is loaded.
        """
        self._process = subprocess.Popen(  # noqa: S603 (our own servers)
            self._command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Return once the server is ready."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            with suppress(httpx.TransportError):
                if httpx.get(self.root + self._ready, timeout=2).status_code == 200:
                    return
            time.sleep(0.05)
        self._log.seek(0)
        raise AssertionError(f"the server did not start: {self._log.read()[-2000:]}")

    def busy(self) -> int:
        """Return the number of slots of llama.cpp's server that decode."""
        return sum(slot["is_processing"] for slot in httpx.get(f"{self.root}/slots", timeout=10).json())

    def kill(self) -> None:
        """Kill the server, as `kill -9` does. Its clients lose their connections."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def llamacpp_server(gguf: Path, *, context: int = 2048, slots: int = 2, **options: Any) -> Iterator[ServerProcess]:
    """Run llama.cpp's server for a GGUF file on a free port, or skip the test if `xllamacpp` is not installed.

    Args:
        gguf: The model.
        context: The context of each slot, in tokens.
        slots: How many requests decode at the same time. More requests wait.
        **options: More values of llama.cpp's `common_params`, for example `api_keys=["secret"]`, `chat_template="…"`,
            `model_alias=["name"]` or `swa_full=True`. Nested ones have dots.
    """
    if not find_spec("xllamacpp"):
        pytest.skip("needs llama.cpp's server: pip install xllamacpp")
    port = _free_port()
    arguments = {"path": str(gguf), "port": port, "n_ctx": context * slots, "n_parallel": slots, **options}
    with _running(ServerProcess(gguf, [sys.executable, __file__, json.dumps(arguments)], port, "/health")) as server:
        yield server


@contextmanager
def llama_cpp_python_server(gguf: Path, *, context: int = 2048, **options: Any) -> Iterator[ServerProcess]:
    """Run llama-cpp-python's server for a GGUF file on a free port, or skip the test if its packages are missing.

    Args:
        gguf: The model.
        context: The context, in tokens.
        **options: More options of the server's command, for example `model_alias="name"`.
    """
    missing = [name for name in ("llama_cpp", "sse_starlette", "starlette_context") if not find_spec(name)]
    if missing:
        pytest.skip(
            f"needs llama-cpp-python's server, {', '.join(missing)} missing: pip install llama-cpp-python[server]"
        )
    port = _free_port()
    values = {"model": gguf, "port": port, "n_ctx": context, "n_threads": 1, "verbose": False, **options}
    arguments = [text for name, value in values.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "llama_cpp.server", *arguments]
    with _running(ServerProcess(gguf, command, port, "/v1/models")) as server:
        yield server


@contextmanager
def _running(server: ServerProcess) -> Iterator[ServerProcess]:
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _serve(path: str, port: int, **options: Any) -> None:
    """Run llama.cpp's server in this process until it is killed."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.port, params.verbosity = path, port, 1
    params.n_gpu_layers, params.cpuparams.n_threads = 0, int(os.environ.get("OMP_NUM_THREADS", "1"))
    for name, value in options.items():
        *parents, last = name.split(".")
        holder = params
        for parent in parents:
            holder = getattr(holder, parent)
        setattr(holder, last, set(value) if last == "model_alias" else value)
    server = xllamacpp.Server(params)  # noqa: F841 (it serves as long as it is referenced)
    Event().wait()


if __name__ == "__main__":
    _serve(**json.loads(sys.argv[1]))
