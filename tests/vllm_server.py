"""vLLM servers on this machine, for tests."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = Path(__file__).parents[1] / "packages" / "nudging-vllm"


class VLLM:
    """A server of one model, bound to one core. `options` are those of `vllm serve`."""

    def __init__(
        self,
        folder: Path,
        name: str,
        port: int,
        core: int,
        log: Path,
        options: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.name, self.port, self.core, self.log = folder, name, port, core, log
        self.options, self.environment = options, environment or {}
        self.root = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [os.environ["VLLM"], "serve", str(self.folder), "--served-model-name", self.name]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--max-model-len", "2048", "--dtype", "float32"]
        command += ["--enforce-eager", "--block-size", "32", "--enable-prompt-tokens-details", *self.options]
        environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": str(self.core)}
        if not shutil.which("g++"):  # without a compiler the first request with log-probabilities would kill the engine
            environment["TORCHDYNAMO_DISABLE"] = "1"
        environment |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", **self.environment}
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


def install_processor(folder: Path) -> None:
    """Install the package nudging-vllm into a new folder, without pip."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    (information := folder / f"nudging_vllm-{project['version']}.dist-info").mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (information / "METADATA").write_text(metadata)
    ((group, entries),) = project["entry-points"].items()
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (information / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
    shutil.copy(PACKAGE / "nudging_vllm.py", folder)


def with_penalty(folder: Path, copy: Path) -> Path:
    """Return a copy of a model's folder whose generation config has a repetition penalty. The weights are linked."""
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).symlink_to(file)
    config = copy / "generation_config.json"
    settings = json.loads(config.read_text()) if config.exists() else {}
    config.unlink(missing_ok=True)
    config.write_text(json.dumps({**settings, "repetition_penalty": 1.3}))
    return copy


@contextmanager
def two_servers(pair: tuple[Path, Path], folder: Path) -> Iterator[tuple[VLLM, VLLM]]:
    """Run a server of the base model with nudging-vllm, and one of the nudging model with a penalty and without it."""
    install_processor(folder / "installed")
    installed = {"PYTHONPATH": str(folder / "installed")}
    base = VLLM(pair[0], "base", 8731, 0, folder / "base.log", environment=installed)
    nudging = VLLM(with_penalty(pair[1], folder / "nudging"), "nudging", 8732, 1, folder / "nudging.log")
    try:
        for server in (base, nudging):
            server.start()
        for server in (base, nudging):
            server.wait()
        yield base, nudging
    finally:
        for server in (base, nudging):
            server.kill()
