"""Checks of a configuration before it serves: `nudging serve --check`, and the start of every server."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nudging.diagnosis import Finding, diagnose_pair
from nudging.errors import SettingsError
from nudging.serving.cors import cors_options
from nudging.serving.keys import ApiKey, KeyRing, all_keys, read_keys
from nudging.serving.limits import Limits
from nudging.serving.listening import listening_sockets

LOCAL_HOSTS = ("127.", "localhost", "::1")
"""Starts of the addresses that only this machine reaches."""

BYTES_PER_TOKEN = 4
"""Typical length of a token."""


@dataclass(frozen=True)
class ServerSetup:
    """The options of a server, beside those of its models.

    Args:
        host: The address to listen on.
        port: The port to listen on, 0 for a free one.
        workers: Number of processes.
        limits: The limits of the server.
        api_key: The API key without a name.
        key_file: The file with API keys and their limits.
        cors_origins: The origins whose web pages may send requests.
    """

    host: str
    port: int
    workers: int
    limits: Limits
    api_key: str | None = field(repr=False)
    key_file: Path | None
    cors_origins: Sequence[str]

    def keys(self) -> dict[str, ApiKey]:
        """Return all API keys, by name.

        Raises:
            SettingsError: The key file cannot be read, or a key is not valid.
        """
        keys = all_keys(self.api_key, read_keys(self.key_file) if self.key_file else {})
        KeyRing(keys)
        return keys


def check_setup(setup: ServerSetup) -> list[Finding]:
    """Return the problems of a server's own options: "fail" prevents the start, "note" does not."""
    return [
        *_failure("workers", lambda: _check_workers(setup.workers)),
        *_failure("api keys", setup.keys),
        *_failure("cors", lambda: cors_options(setup.cors_origins)),
        *_failure("address", lambda: _check_address(setup.host, setup.port)),
        *_key_notes(setup),
        *_limit_notes(setup.limits),
    ]


def check_models(options: Mapping[str, Any], limits: Limits, max_tokens: int | None) -> list[Finding]:
    """Return the problems of both models, and of limits that do not fit them. No weights are loaded.

    Args:
        options: Fields of `NudgerConfig`.
        limits: The limits of the server.
        max_tokens: The maximum length of an answer, if it is known.
    """
    findings = diagnose_pair(options)
    contexts = [one.data["context"] for one in findings if one.data.get("context")]
    notes = context_notes(limits, min(contexts), max_tokens) if contexts else ()
    return [one for one in findings if one.status != "ok"] + list(notes)


def context_notes(limits: Limits, context: int, max_tokens: int | None) -> Iterator[Finding]:
    """Yield a note if prompts may be longer than the models' contexts.

    Args:
        limits: The limits of the server.
        context: The smaller one of both models' contexts, in tokens.
        max_tokens: The maximum length of an answer, if it is known.
    """
    prompt = limits.prompt_tokens
    if prompt is None:
        return
    if prompt >= context:
        yield _note("limits", f"--max-prompt-tokens {prompt} has no effect: the context is {context} tokens; lower it")
    elif max_tokens and prompt + max_tokens > context:
        text = (
            f"a prompt of --max-prompt-tokens {prompt} leaves {context - prompt} tokens of the context for its answer"
        )
        yield _note("limits", f"{text}, less than --max-tokens {max_tokens}: lower one of them")


def _failure(name: str, check: Callable[[], object]) -> Iterator[Finding]:
    try:
        check()
    except SettingsError as error:
        yield Finding("fail", name, str(error))


def _note(name: str, text: str) -> Finding:
    return Finding("note", name, text)


def _check_workers(workers: int) -> None:
    if workers > 1:
        raise SettingsError(
            f"--workers {workers} would load both models {workers} times: use one worker, whose concurrent answers "
            "share forward passes, or start several servers behind a load balancer (docs/deployment.md)"
        )


def _check_address(host: str, port: int) -> None:
    for one in listening_sockets(host, port):
        one.close()


def _key_notes(setup: ServerSetup) -> Iterator[Finding]:
    try:
        keys = setup.keys()
    except SettingsError:  # a failure already
        return
    if not keys and not setup.host.startswith(LOCAL_HOSTS):
        text = (
            f"everyone who reaches --host {setup.host} is served: set NUDGING_API_KEY or --api-keys, or use a firewall"
        )
        yield _note("api keys", text)
    if setup.key_file and os.name == "posix":
        mode = stat.S_IMODE(setup.key_file.expanduser().stat().st_mode)
        if mode & 0o077:
            yield _note("api keys", f"other users may access {str(setup.key_file)!r} ({mode:o}): chmod 600")
    most = setup.limits.at_once + setup.limits.queue
    for name, key in keys.items():
        if key.at_once and key.at_once > most:
            text = f"at_once {key.at_once} of {name!r} has no effect: the server takes --at-once + --queue = {most}"
            yield _note("api keys", f"{text}; lower it")


def _limit_notes(limits: Limits) -> Iterator[Finding]:
    if limits.queue == 0:
        text = (
            f"with --queue 0 a client gets a 429 while {limits.at_once} requests are being answered: raise it to wait"
        )
        yield _note("limits", text)
    if limits.prompt_tokens and limits.prompt_tokens * BYTES_PER_TOKEN > limits.body:
        text = f"--max-body {limits.body} is too small for prompts of --max-prompt-tokens {limits.prompt_tokens}"
        yield _note("limits", f"{text} (about {BYTES_PER_TOKEN} bytes each): raise it")
