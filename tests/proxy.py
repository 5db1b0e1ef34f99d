"""A proxy that cuts connections in the middle of answers, at pseudo-random places."""

import random
import socket
import threading
from contextlib import suppress
from types import TracebackType

from typing_extensions import Self


class CuttingProxy:
    """Forwards connections to a port of this machine, and cuts some of them."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._random = random.Random(0)
        self._armed = False
        self.cuts = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/v1"

    def arm(self, seed: int) -> None:
        """Cut the next connection, and some of those after it. The seed decides which ones, and where."""
        self._random, self._armed = random.Random(seed), True

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                cut = self._armed or (self.cuts and self._random.random() < 0.2)
                self._armed = False
                after = self._random.randrange(3000) if cut else None
                threading.Thread(target=self._forward, args=(client, after), daemon=True).start()

    def _forward(self, client: socket.socket, cut_after: int | None) -> None:
        with suppress(OSError), client, socket.create_connection(self._to) as server:
            threading.Thread(target=_copy, args=(client, server), daemon=True).start()
            left = cut_after
            while data := server.recv(512):
                if left is not None and len(data) > left:
                    client.sendall(data[:left])
                    self.cuts += 1
                    for end in (client, server):
                        end.shutdown(socket.SHUT_RDWR)
                    return
                left = None if left is None else left - len(data)
                client.sendall(data)


def _copy(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(4096):
            other.sendall(data)
