"""The sockets and the signals of a server."""

import errno
import os
import signal
import socket
from types import FrameType
from typing import Any

import uvicorn

from nudging.errors import SettingsError

SHUTDOWN = 120
"""Seconds that running answers have to finish when the server is told to stop."""


class Server(uvicorn.Server):
    """A uvicorn server that lets running answers finish at the first signal, and ends at once at the second."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
            os._exit(128 + sig)  # as process 1 of a container the signal alone has no effect
        super().handle_exit(sig, frame)


def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """Return sockets with this address, one for IPv4 and one for IPv6 if the host has both.

    They accept connections once a server runs on them.

    Args:
        host: The address or the name of this machine.
        port: The port, 0 for a free one.

    Raises:
        SettingsError: The address cannot be used, or another program uses the port.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise SettingsError(
            f"--host {host!r} is not an address: {_reason(error)}; write 127.0.0.1 or 0.0.0.0"
        ) from None
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            if bound := _bound(family, (address[0], port, *address[2:])):
                sockets.append(bound)
                port = bound.getsockname()[1]
    except OSError as error:
        for one in sockets:
            one.close()
        reason = f"{_reason(error)}; choose another --host or --port"
        raise SettingsError(f"cannot listen on {address_of(host, port)}: {reason}") from None
    if not sockets:
        raise SettingsError(f"cannot listen on {host!r}: this machine has no such address; choose another --host")
    return sockets


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket | None:
    """Return a socket with this address, None if this machine has no such address: localhost may name one too many."""
    try:
        bound = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":  # on Windows it would share the port with another server
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        return bound
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None
        raise


def address_of(host: str, port: int) -> str:
    """Return host and port as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
