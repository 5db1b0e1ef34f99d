"""The options of a benchmark that name its pair, and what runs it."""

import argparse
from collections.abc import Sequence
from importlib.util import find_spec

from nudging import Nudger
from nudging.models.config import Backend
from nudging.models.demo import demo_pair
from nudging.models.gguf_files import is_gguf

PACKAGES: dict[Backend, tuple[str, ...]] = {"llamacpp": ("llama_cpp",), "transformers": ("torch", "transformers")}
"""The packages that each backend needs."""


def add_pair(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a pair."""
    parser.add_argument("--base", help="base model; the demo pair if either model is left out")
    parser.add_argument("--nudging", help="nudging model")


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add the option `--backend`, for benchmarks that run one."""
    parser.add_argument(
        "--backend", choices=list(PACKAGES), help="what runs both models; default llamacpp for GGUF files if installed"
    )


def nudger_of(arguments: argparse.Namespace) -> Nudger:
    """Return the pair on its backend. The benchmark also has the option `--max-tokens`."""
    backend: Backend | None = arguments.backend
    base, nudging = pair(arguments, backend)
    return Nudger(base, nudging, base_backend=backend, nudging_backend=backend, max_tokens=arguments.max_tokens)


def pair(arguments: argparse.Namespace, backend: Backend | None = None) -> tuple[str, str]:
    """Return the names of the base and the nudging model, or the demo pair for this backend."""
    if arguments.base and arguments.nudging:
        return arguments.base, arguments.nudging
    base, nudging = demo_pair(base_backend=backend, nudging_backend=backend)
    return str(base), str(nudging)


def backends(arguments: argparse.Namespace) -> list[Backend]:
    """Return the installed backends that can run the pair: llama.cpp runs GGUF files, transformers runs all."""
    names: Sequence[str] = (arguments.base, arguments.nudging) if arguments.base and arguments.nudging else ()
    installed = [backend for backend, packages in PACKAGES.items() if all(map(find_spec, packages))]
    return [backend for backend in installed if backend == "transformers" or all(map(is_gguf, names))]
