"""Runs the programs for Node.js in node/. Each prints one JSON object: what every one of its cases returned."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from servers import Servers

FOLDER = Path(__file__).parent


def found_by(program: str, servers: Servers) -> dict[str, Any]:
    """Return what a program found, or skip the tests if Node.js or its packages are not installed."""
    node = shutil.which("node")
    if not node or not (FOLDER / "node_modules").exists():
        pytest.skip("needs Node.js, and npm ci in tests/clients")
    command = [node, f"node/{program}", servers.scripted, servers.keyed, servers.single, servers.tiny]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=100, check=False)  # noqa: S603
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
